"""Tests of sanitizer.methods."""
