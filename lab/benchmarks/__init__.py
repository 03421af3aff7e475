"""Scripts that measure and print a table; never part of the test run."""
