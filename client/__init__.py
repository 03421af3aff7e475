"""Python client and command line of the service; `from client.client import Client`. Knows only the wire."""
