"""Between the socket and the application: what a peer may cost before its request is known."""
