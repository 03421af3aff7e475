"""Laws of the house that import-linter cannot see, and the container files as text."""
