"""A real worker process whose child is the stand-in: `celery -A tests.end_to_end.stand_in_worker worker`."""

import os
import sys
from dataclasses import replace

from app.settings import load_settings
from tests.integration.worker.world import STAND_IN_FILES
from worker.wiring import attempt_options, build_app

settings = load_settings()
app = build_app(
    settings,
    replace(
        attempt_options(settings),
        child_command=(sys.executable, *STAND_IN_FILES, os.environ["STAND_IN_BEHAVIOUR"]),
    ),
)
