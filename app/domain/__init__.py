"""What the service is about, in the standard library alone: states, transitions, failures, ids, keys, limits."""
