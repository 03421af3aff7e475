"""The reference pages, made of what the code itself says: `python -m tools.reference`, part of `make format`."""
