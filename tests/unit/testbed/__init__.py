"""Unit tests of the test subjects."""
