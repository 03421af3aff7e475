"""The service: HTTP in, JSON out. Never reaches torch."""
