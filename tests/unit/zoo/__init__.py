"""Unit tests of the zoo."""
