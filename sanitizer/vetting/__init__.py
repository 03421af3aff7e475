"""Which samples of a dataset look poisoned: scores, p-values, and what is set aside."""
