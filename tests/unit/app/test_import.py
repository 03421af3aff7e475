"""The API starts quickly and never reaches torch: looked at in a fresh interpreter."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow
FORBIDDEN = ("torch", "torchvision", "open_clip", "timm", "numpy", "PIL")
_PROGRAM = """
import json, sys, time
started = time.perf_counter()
import {module}
seconds = time.perf_counter() - started
print(json.dumps({{"seconds": seconds, "modules": sorted(sys.modules)}}))
"""
HANG_S = 30
"""Not the aim (one second on a quiet machine), only what can no longer be called starting."""


@pytest.mark.parametrize("module", ["app.main", "app.cli.main"])
def test_importing_reaches_no_tensor_library(module: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(module=module)],
        capture_output=True,
        text=True,
        check=True,
        timeout=HANG_S,
    )
    found = json.loads(run.stdout)
    print(f"import {module}: {found['seconds']:.2f} s, {len(found['modules'])} modules")
    assert [name for name in FORBIDDEN if name in found["modules"]] == []


def test_building_the_application_opens_no_connection() -> None:
    program = (
        "import socket\n"
        "def refuse(*a, **k): raise AssertionError('connected')\n"
        "socket.socket.connect = refuse\n"
        "from app.main import create_app\n"
        "from app.settings import Settings\n"
        "print(len(create_app(Settings()).openapi()['paths']))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=HANG_S
    )
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) > 20
