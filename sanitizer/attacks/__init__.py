"""Triggers, one idea per file."""
