"""Pages for people: the same use cases as the API, rendered on the server, below /ui/."""
