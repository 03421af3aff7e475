"""Pages of reports: what they say, and that nobody can make them say something else."""
