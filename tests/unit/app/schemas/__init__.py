"""`app.schemas`."""
