"""Python client and command line of the service. Knows only the wire."""
