"""Augmented views of images and captions."""
