"""The worker's entry point: `celery -A worker.celery_app worker`. Builds everything from the environment."""

from celery import Celery

from app.settings import load_settings
from worker.signing_keys import SigningKeyUnusable
from worker.wiring import IsolationTooWeak, attempt_options, build_app, check_isolation


def _configured() -> Celery:
    settings = load_settings()
    try:
        check_isolation(settings.worker.require_isolation)
        return build_app(settings, attempt_options(settings))
    except (SigningKeyUnusable, IsolationTooWeak) as error:
        raise SystemExit(f"The worker cannot start: {error}") from error


app = _configured()
