"""Are all promises kept? Reads rows and objects with SQL and calls of its own, and nothing else."""
