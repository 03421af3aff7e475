"""`app.web` without a server."""
