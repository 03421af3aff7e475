"""The client is light: what a fresh interpreter has loaded after importing it."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"torch", "numpy", "PIL", "boto3", "sqlalchemy", "celery", "fastapi", "app", "worker", "sanitizer"}


@pytest.mark.parametrize("module", ["client.client", "cleanclip.command.main"])
def test_importing_it_loads_none_of_our_other_rooms_and_nothing_heavy(module: str) -> None:
    script = f"import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    ).stdout.split()
    assert "client" in loaded
    assert not HEAVY & set(loaded)
