"""The object store: one port, and the only code that speaks S3."""
