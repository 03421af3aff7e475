"""The command line, on a transport that is given."""
