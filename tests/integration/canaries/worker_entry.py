"""A real worker process whose child is the canary child."""

import sys
from dataclasses import replace
from pathlib import Path

from app.settings import load_settings
from tests.integration.worker.world import STAND_IN_FILES
from worker.wiring import attempt_options, build_app

CHILD = Path(__file__).with_name("canary_child.py")

settings = load_settings()
command = (sys.executable, str(CHILD), *STAND_IN_FILES)
app = build_app(settings, replace(attempt_options(settings), child_command=command))
