"""Pairs and labelled sets from local files: hostile bytes in, batches out. Knows no model and no method."""
