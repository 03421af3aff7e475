"""The client and its command against the real API and the real object store."""
