"""docker/ci.sh, with stand-ins for what it calls: red where something failed, and never silently green."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CANNOT = "echo 'Containers were NOT run: no mirror.' >&2; exit 3"


def run(folder: Path, *, limit_s: int = 600, **steps: str) -> tuple[int, str]:
    """Its status and output, with these shell lines as the engine, the images and the trial."""
    places = {"engine": "docker/engine.sh", "images": "docker/images.sh", "trial": ".venv/bin/python"}
    for name, place in places.items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            f"#!/bin/sh\n[ \"$1\" = stop ] && exit\necho '{name} ran'\n{steps.get(name, 'exit 0')}\n"
        )
        path.chmod(0o755)
    shutil.copy(ROOT / "docker/ci.sh", folder / "docker/ci.sh")
    command = [folder / "docker/ci.sh"]
    done = subprocess.run(
        command,
        env={"PATH": "/usr/bin:/bin", "LIMIT_S": str(limit_s)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("where", ["engine", "images"])
def test_where_no_engine_or_base_can_be_had_it_says_so_and_goes_on(tmp_path: Path, where: str) -> None:
    status, output = run(tmp_path, **{where: CANNOT})
    assert status == 0
    assert "Containers were NOT run: no mirror." in output
    assert "trial ran" not in output


def test_images_that_take_too_long_are_not_run_and_said(tmp_path: Path) -> None:
    status, output = run(tmp_path, limit_s=241, images="exec sleep 30")
    assert status == 0
    assert "Containers were NOT run: building the images took too long here." in output
    assert "trial ran" not in output


@pytest.mark.parametrize("where", ["images", "trial"])
def test_what_runs_and_fails_is_red(tmp_path: Path, where: str) -> None:
    status, output = run(tmp_path, **{where: "exit 1"})
    assert status == 1
    assert "NOT run" not in output


def test_each_part_is_told_with_its_time(tmp_path: Path) -> None:
    status, output = run(tmp_path)
    assert status == 0
    for part in ("the engine", "building the images", "the trial"):
        assert re.search(rf"^containers: {part} took \d+ s$", output, re.MULTILINE)
    assert "trial ran" in output


def test_it_is_the_last_step_of_ci() -> None:
    lines = (ROOT / ".ci/run").read_text().splitlines()
    assert lines[-1] == "docker/ci.sh"


def test_nobody_but_root_is_promised_an_engine(tmp_path: Path) -> None:
    """`docker` that does not answer, and no right to start one: status 3 and the reason."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, line in (("docker", "exit 1"), ("id", "echo 1000")):
        (tools / name).write_text(f"#!/bin/sh\n{line}\n")
        (tools / name).chmod(0o755)
    done = subprocess.run(
        [ROOT / "docker/engine.sh"],
        env={"PATH": f"{tools}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "Containers were NOT run: no Docker engine answers, and only root" in done.stderr
