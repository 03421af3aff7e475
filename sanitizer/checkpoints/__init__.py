"""Checkpoints: hostile bytes in, a known CLIP out, canonical files, and back to the layout that came."""
