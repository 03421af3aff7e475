"""Tests of sanitizer.training."""
