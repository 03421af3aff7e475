"""What the service is about: states, transitions, failures, ids, keys, limits. Standard library only."""
