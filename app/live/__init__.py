"""What one process holds between requests: followers, rates, recognised keys, places, readiness."""
