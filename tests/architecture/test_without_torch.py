"""The service in an environment that has no torch: it starts, takes orders, and tests of its worker pass.

import-linter reads every import, those inside functions too, but not what `importlib` does at run time; an
environment without the package cannot be fooled. Daily, the tests run in it are those where something is
loaded by name (worker/wiring.py), in the full suite also those of the API and of the worker. The environment
has what the extras `api` and `local` name (tests/fixtures/environments.py).
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from app.local.stack import Stack
from tests.fixtures.environments import linked

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "torchvision", "open_clip", "timm", "numpy")
ENTRY_POINTS = (
    *("app.main", "app.cli.main", "worker.celery_app", "worker.sweeper", "worker.webhooks.__main__"),
    "cleanclip.command.main",
)
WIRING = "tests/integration/api/test_wiring.py"
TESTS = (
    "tests/unit/worker",
    "tests/integration/api/test_jobs.py",
    "tests/integration/api/test_uploads.py",
)


def _run(
    command: Sequence[str | Path], *, timeout_s: float, **given: str
) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "VIRTUAL_ENV"))}
    environment = kept | given
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=timeout_s
    )


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the service's extra and what its tests need, and no more."""
    service, tests = "cleanclip-service[api,local]", ("pytest", "pytest-timeout", "hypothesis", "ruff")
    return linked(tmp_path_factory.mktemp("without-torch"), (service, *tests, "boto3-stubs[s3]"))


@pytest.mark.timeout(900)
@pytest.mark.slow
class TestAnEnvironmentWithoutTorch:
    def test_none_of_the_heavy_packages_is_there(self, python: Path) -> None:
        code = f"import importlib.util as u; print([n for n in {HEAVY!r} if u.find_spec(n)])"
        answer = _run([python, "-c", code], timeout_s=60)
        assert answer.stdout.strip() == "[]", answer.stderr

    def test_every_entry_point_of_the_service_imports(self, python: Path) -> None:
        answer = _run([python, "-c", f"import {', '.join(ENTRY_POINTS)}"], timeout_s=120)
        assert answer.returncode == 0, answer.stderr

    def test_the_tests_of_the_service_import_there(self, python: Path) -> None:
        """Daily, so that a test that needs torch in its import is not first seen where all of them run."""
        answer = _run([python, "-m", "pytest", *TESTS, "--collect-only", "--quiet"], timeout_s=120)
        assert answer.returncode == 0, answer.stdout[-4000:] + answer.stderr[-2000:]

    @pytest.mark.parametrize("tests", [(WIRING,), pytest.param(TESTS, marks=pytest.mark.full)], ids=len)
    def test_the_tests_of_the_service_pass(self, python: Path, tests: Sequence[str], stack: Stack) -> None:
        command = [python, "-m", "pytest", *tests, "-m", "not slow"]
        answer = _run(command, timeout_s=840, **stack.environment)
        assert answer.returncode == 0, answer.stdout[-4000:] + answer.stderr[-2000:]
        assert " passed" in answer.stdout
