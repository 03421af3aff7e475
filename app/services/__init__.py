"""Use cases, one file per noun. They know the unit of work and the ports; no HTTP, no wire shapes."""
