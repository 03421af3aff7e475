"""Checks what a job left, offline: sums, statement, signature, and whether the report's figures fit."""
