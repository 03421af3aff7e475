"""Canaries in every secret and every name, and a search of all that leaves the running service."""
