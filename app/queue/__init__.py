"""The broker carries hints: "look at this job". The database is the queue of record."""
