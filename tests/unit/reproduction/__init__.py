"""Unit tests of the reproduction."""
