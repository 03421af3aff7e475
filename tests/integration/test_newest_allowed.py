"""The newest versions that our bounds allow of what reads and runs models: files mean the same to them.

`constraints.txt` holds what is installed; whoever installs without it gets the newest. Where nothing newer is
allowed than what is installed, the other tests are this test.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MOVING = ("open_clip_torch", "safetensors", "timm", "tokenizers", "torch", "torchvision")
BROUGHT = ("transformers",)
"""By those."""
READERS = (
    "tests/numerics/test_timm_towers.py",
    "tests/numerics/test_training_step.py",
    "tests/numerics/checkpoints",
    "tests/unit/sanitizer/checkpoints",
    "tests/unit/sanitizer/training",
)


def bounds() -> list[str]:
    """The requirements of MOVING."""
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"][
        "sanitizer"
    ]
    return [one for one in asked if re.split(r"[<>=!~\[]", one)[0] in MOVING]


def test_all_of_them_have_an_upper_bound():
    assert len(bounds()) == len(MOVING)
    assert [one for one in bounds() if "<" not in one] == []


def newest() -> dict[str, str]:
    """By name, what pip would take now, without the tag of a build."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"),
            *("--disable-pip-version-check", "--report", "-", *bounds()),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"no index answers: {done.stderr.strip().splitlines()[-1]}")
    reported = json.loads(done.stdout)["install"]
    found = {one["metadata"]["name"]: one["metadata"]["version"].split("+")[0] for one in reported}
    return {name: one for name, one in found.items() if name in (*MOVING, *BROUGHT)}


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_models_are_read_and_trained_alike_with_the_newest_versions(tmp_path):
    newer = {name: one for name, one in newest().items() if version(name).split("+")[0] != one}
    if not newer:
        return
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", tmp_path),
            *(f"{name}=={one}" for name, one in newer.items()),
        ],
        timeout=600,
        check=True,
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not full", *READERS],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, f"with {newer}:\n{done.stdout[-4000:]}"
