"""A Celery worker whose child is another program: `celery -A drills.worker_of_other_child worker`.

For the queue drill (the STUB of the model) and the poison pill. DRILL_CHILD is the command, as a JSON list;
the job's folder follows.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace

from app.settings import load_settings
from worker.wiring import attempt_options, build_app

VARIABLE = "DRILL_CHILD"

_settings = load_settings()
_command = tuple(json.loads(os.environ[VARIABLE])) if VARIABLE in os.environ else None
_options = attempt_options(_settings)
app = build_app(_settings, _options if _command is None else replace(_options, child_command=_command))
