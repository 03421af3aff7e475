"""Backdoors in the text tower, planted, found and removed: `python -m lab.text_side`."""
