"""Kinds of jobs: one value in one file each. `kind` says what a value holds, `catalogue` lists them."""
