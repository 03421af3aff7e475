"""The tables of docs/reference, made of what the code says: `python -m tools.reference`, in `make format`."""
