"""Pages about checkpoints, datasets and files."""
