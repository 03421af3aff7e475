"""Outputs: checked against what the service knows, completed, signed, published."""
