"""The client, on a transport that is given."""
