"""Augmented views of images and captions. Knows no files, no batches and no model."""
