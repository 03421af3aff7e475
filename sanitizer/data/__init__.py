"""Pairs and labelled sets from local files: hostile bytes in, batches out."""
