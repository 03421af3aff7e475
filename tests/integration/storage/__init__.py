"""One suite for the object store port, over the fake and over a real server."""
