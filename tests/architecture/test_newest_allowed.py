"""Models are read alike by the newest release of each package that pyproject.toml lets in by an upper bound.

`constraints.txt` pins what was tried together, so without this test a release within the bounds would first
be met by a user. torch and torchvision are pinned nowhere: each installation has the newest that is allowed.
"""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOWERS = "tests/numerics/test_timm_towers.py::test_a_clip_with_a_tower_of_timms_embeds_as_its_library_does"
READING = (TOWERS, "tests/unit/sanitizer/checkpoints", "tests/unit/sanitizer/test_published.py")
PINNED_NOWHERE = ("torch", "torchvision")

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]


def bounded() -> list[str]:
    """Requirements of the library with an upper bound, that a constraint pins."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    names = {one: re.split(r"[<>=]", one)[0] for one in extras["sanitizer"] if "<" in one}
    return [one for one, name in names.items() if name not in PINNED_NOWHERE]


def test_models_are_read_alike_by_the_newest_that_is_allowed(tmp_path: Path) -> None:
    assert [one for one in bounded() if one.startswith("open_clip_torch")]
    newest, environment = tmp_path / "newest", {**os.environ, "PYTHONPATH": str(tmp_path / "newest")}
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(newest)]
    subprocess.run([*install, *bounded()], check=True, timeout=300)
    where = (
        "import open_clip, timm, tokenizers; print(open_clip.__file__, timm.__file__, tokenizers.__file__)"
    )
    found = subprocess.run(
        [sys.executable, "-c", where],
        env=environment,
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert all(path.startswith(str(newest)) for path in found.stdout.split())
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *READING]
    ran = subprocess.run(
        tests, env=environment, cwd=ROOT, check=False, capture_output=True, text=True, timeout=600
    )
    assert ran.returncode == 0, ran.stdout[-4000:]
