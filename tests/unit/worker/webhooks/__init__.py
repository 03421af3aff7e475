"""Tests of the deliverer."""
