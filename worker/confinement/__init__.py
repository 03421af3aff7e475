"""The child process: cut off, limited, watched, and read without being believed."""
