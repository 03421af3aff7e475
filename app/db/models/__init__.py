"""The tables, one class per file."""
