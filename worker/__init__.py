"""Celery workers: a thin supervisor per job; the model runs in a child process."""
