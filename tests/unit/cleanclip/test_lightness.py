"""The client is light: what a fresh interpreter has loaded after importing it."""

import subprocess
import sys

import pytest

HEAVY = {"torch", "numpy", "PIL", "boto3", "sqlalchemy", "celery", "fastapi", "app", "worker", "sanitizer"}


@pytest.mark.parametrize("module", ["cleanclip.sync.client", "cleanclip.command.main"])
def test_importing_it_loads_none_of_our_other_rooms_and_nothing_heavy(module: str) -> None:
    script = f"import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    ).stdout.split()
    assert "cleanclip" in loaded
    assert not HEAVY & set(loaded)


@pytest.mark.parametrize("module", ["cleanclip.vocabulary.report", "cleanclip.evidence.verification"])
def test_vocabulary_and_offline_checks_load_no_network_and_no_terminal(module: str) -> None:
    script = f"import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    ).stdout.split()
    assert "pydantic" in loaded
    assert not {"httpx", "rich", "typer", "torch"} & set(loaded)
