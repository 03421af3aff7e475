"""`app.api` without a server."""
