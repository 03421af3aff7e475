"""The API starts without torch and without a connection: looked at in a fresh interpreter."""

import json
import subprocess
import sys

import pytest

FORBIDDEN = ("torch", "torchvision", "open_clip", "timm", "numpy", "PIL")
_PROGRAM = """
import json, socket, sys
def refuse(*a, **k): raise AssertionError('connected')
socket.socket.connect = refuse
import app.cli.main
from app.main import create_app
from app.settings import Settings
num_paths = len(create_app(Settings()).openapi()['paths'])
print(json.dumps({"num_paths": num_paths, "modules": sorted(sys.modules)}))
"""
HANG_S = 30
"""Not the aim (a second for the import on a quiet machine), only what can no longer be called starting."""


@pytest.mark.slow
def test_building_the_application_reaches_no_tensor_library_and_opens_no_connection() -> None:
    run = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=False, timeout=HANG_S
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert [name for name in FORBIDDEN if name in found["modules"]] == []
    assert found["num_paths"] > 20
