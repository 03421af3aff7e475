"""Many small models, clean and poisoned, by which scans for unknown triggers are judged: docs/scanning.md."""
