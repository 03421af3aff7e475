"""Test doubles that implement a port and pass the same suite as the real thing."""
