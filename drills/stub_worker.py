"""A Celery worker whose child is the STUB, for the queue drill: `celery -A drills.stub_worker worker`."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

from app.settings import load_settings
from worker.wiring import attempt_options, build_app

STUB = Path(__file__).with_name("stub_child.py")
REPORT_VARIABLE = "DRILL_STUB_REPORT"

_settings = load_settings()
app = build_app(
    _settings,
    replace(
        attempt_options(_settings),
        child_command=(sys.executable, "-I", "-S", str(STUB), os.environ.get(REPORT_VARIABLE, "{}")),
    ),
)
