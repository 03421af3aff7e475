"""Objectives, one file each. A method is a loss over embeddings; it knows no model, device or data."""
