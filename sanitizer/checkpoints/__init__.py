"""Checkpoints: hostile bytes in, a known CLIP out, canonical files, and back to the layout that came.

Every refusal is a CheckpointRejected with a stable code: docs/reference/errors.md lists them.
"""
