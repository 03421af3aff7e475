"""Objectives, one file each. A method is a loss over embeddings; it needs no model, device or data."""
