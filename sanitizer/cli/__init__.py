"""The command line `python -m sanitizer`: what was typed, what is shown. Computes nothing."""
