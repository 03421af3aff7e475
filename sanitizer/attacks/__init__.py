"""Triggers, one idea per file, and the poisoner: to audit with, and to make test subjects."""
