"""Checkpoints: hostile bytes in, a known CLIP out, canonical files on disk, and back to the layout that came."""
