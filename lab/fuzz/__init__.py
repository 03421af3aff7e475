"""Coverage-guided fuzzing of what reads a stranger's bytes. Needs the extra `fuzz` (atheris; Linux)."""
