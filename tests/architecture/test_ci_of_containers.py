"""docker/ci.sh, with stand-ins for what it calls: red where something failed, and never silently green."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.containers import compose

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


def test_what_was_built_outlives_the_checkout(tmp_path: Path) -> None:
    reported = 'echo "data=$DOCKER_DATA stand-ins=$STAND_IN_CACHE"'
    _, output = run(tmp_path, images=reported)
    found = re.search(r"data=(\S+) stand-ins=(\S+)", output)
    assert found is not None
    assert not any(Path(one).is_relative_to(tmp_path) for one in found.groups())


def test_an_image_that_was_not_finished_is_named_with_its_time(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tmp_path / "docker").mkdir()
    shutil.copy(ROOT / "docker/images.sh", tmp_path / "docker/images.sh")
    lines = {
        "docker": 'case "$*" in build*worker*) exec sleep 6;; history*) echo 1MB;; esac',
        "git": "echo 0",
    }
    for place, line in (
        *((tools / name, line) for name, line in lines.items()),
        (tmp_path / "docker/engine.sh", "exit 0"),
    ):
        place.write_text(f"#!/bin/sh\n{line}\n")
        place.chmod(0o755)
    (tmp_path / "pyproject.toml").write_text('version = "1"\n')
    (tmp_path / "docker/requirements").mkdir()
    (tmp_path / "docker/requirements/build.txt").touch()
    done = subprocess.run(
        ["timeout", "--signal=INT", "3", tmp_path / "docker/images.sh"],
        env={"PATH": f"{tools}:/usr/bin:/bin", "TORCH": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 124
    assert re.search(r"cleanclip/api:dev \(base .*\), built in \d+ s", done.stdout)
    assert re.search(
        r"cleanclip/worker:dev was NOT built within \d+ s; its finished layers are kept", done.stdout
    )


def test_images_that_are_not_built_are_named_with_the_command_that_builds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\nexit 1\n')
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert compose.main([]) == 1
    assert "no image cleanclip/worker:dev. Build them first: make images" in capsys.readouterr().out
    assert "compose" not in (tmp_path / "asked").read_text(), "nothing was started, so nothing is taken down"


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
