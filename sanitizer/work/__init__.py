"""What a child does for each kind of job: one module a kind, loaded by name, each with one `do`."""
