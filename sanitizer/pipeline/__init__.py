"""From files to files: what the library does with a checkpoint, a dataset and a recipe."""
