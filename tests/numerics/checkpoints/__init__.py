"""Conversions, against the libraries themselves."""
