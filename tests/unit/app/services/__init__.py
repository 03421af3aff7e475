"""`app.services` without a server."""
