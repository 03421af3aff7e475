"""The worker's entry point: `celery -A worker.celery_app worker`. Builds everything from the environment."""

from __future__ import annotations

from celery import Celery

from app.settings import load_settings
from worker.wiring import attempt_options, build_app


def _configured() -> Celery:
    settings = load_settings()
    return build_app(settings, attempt_options(settings))


app = _configured()
