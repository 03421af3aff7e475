"""The client in an environment that has nothing else: what `pip install .` brings, from its own sources.

It is made again where pyproject.toml or the client's sources have changed; the one of test_without_torch.py
cannot show this, because the service's packages are in it.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cleanclip.setup import synchronous_modules

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "var" / "client-alone"
ABSENT = (
    *("torch", "numpy", "PIL", "fastapi", "starlette", "uvicorn", "sqlalchemy", "celery", "boto3", "jinja2"),
    *("app", "worker", "sanitizer", "lab", "demo", "tests", "ruff"),
)


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """In an empty folder and with an empty home, so that nothing of this machine helps."""
    home = FOLDER / "home"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "TMPDIR") if name in os.environ}
    given = kept | {"HOME": str(home), "PYTHONIOENCODING": "utf-8"} | environment
    return subprocess.run(
        command, cwd=home, env=given, capture_output=True, text=True, check=False, timeout=120
    )


def asked() -> str:
    """Changes with everything that is installed."""
    digest = hashlib.sha256(
        (ROOT / "cleanclip" / "pyproject.toml").read_bytes() + (ROOT / "constraints.txt").read_bytes()
    )
    for path in sorted((ROOT / "cleanclip").rglob("*.py")):
        digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def bin_folder() -> Path:
    """Where python and cleanclip are."""
    stamp, found = FOLDER / ".installed", FOLDER / "env" / "bin"
    if stamp.exists() and stamp.read_text() == asked():
        return found
    shutil.rmtree(FOLDER, ignore_errors=True)
    source = FOLDER / "source"
    shutil.copytree(ROOT / "cleanclip", source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for path in synchronous_modules():  # as in a fresh clone: the build has to make them
        (source / "sync" / path.name).unlink()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", FOLDER / "env"], check=True, timeout=120)
    installed = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--python", found / "python", "install", "--quiet"),
            "--disable-pip-version-check",
            *("--constraint", ROOT / "constraints.txt", source),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert installed.returncode == 0, installed.stderr
    shutil.rmtree(source)
    stamp.write_text(asked())
    return found


@pytest.mark.timeout(600)
@pytest.mark.slow
class TestTheClientAlone:
    def test_nothing_of_the_service_is_there(self, bin_folder: Path) -> None:
        code = f"import importlib.util as u; print([n for n in {ABSENT!r} if u.find_spec(n)])"
        answer = run(bin_folder / "python", "-c", code)
        assert answer.stdout.strip() == "[]", answer.stderr

    def test_both_clients_and_the_models_import_and_are_typed(self, bin_folder: Path) -> None:
        code = (
            "from cleanclip import AsyncClient, Client; import cleanclip;"
            "import cleanclip.errors, cleanclip.evidence.verification; from importlib.resources import files;"
            "assert files(cleanclip).joinpath('py.typed').is_file();"
            "print(Client('http://x', 'k').base_url, AsyncClient('http://x', 'k').base_url)"
        )
        answer = run(bin_folder / "python", "-c", code)
        assert answer.stdout.split() == ["http://x", "http://x"], answer.stderr

    def test_the_command_explains_itself(self, bin_folder: Path) -> None:
        answer = run(bin_folder / "cleanclip", "--help")
        assert answer.returncode == 0, answer.stderr
        assert "Exit status:" in answer.stdout
        assert run(bin_folder / "cleanclip", "--version").stdout.strip()

    def test_the_doctor_says_that_nothing_is_set_up(self, bin_folder: Path) -> None:
        answer = run(bin_folder / "cleanclip", "doctor")
        assert answer.returncode == 1, answer.stderr
        assert "fail  address   none is configured" in answer.stdout
        answer = run(bin_folder / "cleanclip", "--url", "http://127.0.0.1:9", "--api-key", "x", "doctor")
        assert answer.returncode == 1, answer.stderr
        assert "http://127.0.0.1:9 does not answer" in answer.stdout

    def test_folders_are_verified_offline(self, bin_folder: Path) -> None:
        answer = run(bin_folder / "cleanclip", "verify", "no-such-folder")
        assert answer.returncode == 11, answer.stderr
