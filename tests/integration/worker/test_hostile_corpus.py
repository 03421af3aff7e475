"""The corpus in real children, as a worker starts them: refused, soon, small, nothing run or written.

Two children run at a time, each for one file; every file has a test of its own, which waits for its child.
Daily, it is one of each family; tests/unit/sanitizer/checkpoints/test_hostile.py reads all in one process.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from cleanclip.vocabulary.jobspec import (
    EXIT_REFUSED,
    EXIT_SUCCEEDED,
    INSPECTION_ADAPTER,
    UPLOAD_PATH,
    InspectSpec,
)
from cleanclip.vocabulary.recipe import DeclaredOptions
from tests.fixtures.benign_checkpoints import BENIGN
from tests.fixtures.checkpoints import DECLARED, write_open_clip
from tests.fixtures.hostile.canaries import CanaryPort
from tests.fixtures.hostile.corpus import FAMILIES, HOSTILE
from tests.fixtures.real_child import MAX_WALL_S, Ran, run_child
from tests.suites import mostly_full

MAX_PEAK_BYTES = 10**9
SPEC = InspectSpec(filename="model.pt", declared=DeclaredOptions(**DECLARED), scanner_time_limit_s=0)
DAILY = {next(iter(family.files)) for family in FAMILIES} | {
    *("open_clip_fp16", "open_clip_safetensors_fp16", "openai_torchscript_fp16", "huggingface_fp16"),
}
WRITTEN_BY_A_CHILD = {"outcome.json", "spec.json", "inputs/upload", "inputs", "outputs", "home", "tmp"}


@dataclass(frozen=True, kw_only=True)
class Inspected:
    """One file's child, and what was found around it afterwards."""

    ran: Ran
    is_canary_there: bool
    appeared: frozenset[str]
    """Paths in the job's folder that neither we nor an orderly child made."""
    changed_outside: frozenset[str]


def inspect(folder: Path, write: Callable[[Path, Path], object]) -> Inspected:
    """The canary lies in the job's own folder, the one place where a child could make it."""
    upload, canary = folder / "job" / UPLOAD_PATH, folder / "job" / "canary"
    upload.parent.mkdir(parents=True)
    (folder / "secret").write_text("of another job")
    Path(f"{canary}.port").write_text((folder.parent / "port").read_text())
    write(upload, canary)
    Path(f"{canary}.port").unlink()
    digest = _digest(upload)
    before = _outside(folder)
    ran = run_child(folder, SPEC)
    inside = {str(path.relative_to(folder / "job")) for path in (folder / "job").rglob("*")}
    found = Inspected(
        ran=ran,
        is_canary_there=canary.exists(),
        appeared=frozenset(inside - WRITTEN_BY_A_CHILD),
        changed_outside=frozenset(_outside(folder) ^ before),
    )
    assert _digest(upload) == digest, "the upload itself stays as it came"
    upload.unlink()  # some are large
    return found


def _digest(path: Path) -> str:
    """Of the first megabytes; with size and time that is enough to see a change."""
    with path.open("rb") as file:
        head = hashlib.sha256(file.read(2**22)).hexdigest()
    return f"{head} {path.stat().st_size} {path.stat().st_mtime_ns}"


def _outside(folder: Path) -> set[tuple[str, int, int]]:
    """Name, size and time of what lies beside the job's folder: another job's file, another folder, home."""
    places = [folder, folder.parent / "elsewhere", Path.home()]
    found = set()
    for place in places:
        for path in place.iterdir():
            if path.name not in {"job", "logs", ".cache"}:
                status = path.lstat()
                found.add((str(path), status.st_size, status.st_mtime_ns if path.is_file() else 0))
    return found


@pytest.fixture(scope="module")
def port() -> Iterator[CanaryPort]:
    with CanaryPort() as listening:
        yield listening


@pytest.fixture(scope="module")
def inspected(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, port: CanaryPort
) -> Iterator[dict[str, Future[Inspected]]]:
    """A child for every file that this run asks for, two at a time; the results as they come."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "elsewhere").mkdir()
    (folder / "port").write_text(str(port.number))
    asked = {
        item.callspec.params["name"]
        for item in request.session.items
        if item.path == request.path and hasattr(item, "callspec")
    }
    writers: dict[str, Callable[[Path, Path], object]] = {
        n: f.write for n, f in HOSTILE.items() if n in asked
    }
    writers |= {n: _without_canary(write) for n, write in BENIGN.items() if n in asked}
    with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        yield {name: pool.submit(inspect, folder / name, write) for name, write in writers.items()}
        pool.shutdown(cancel_futures=True)


def _without_canary(write: Callable[[Path], object]) -> Callable[[Path, Path], object]:
    return lambda path, canary: write(path)


def assert_harmless(found: Inspected, port: CanaryPort) -> None:
    assert not found.is_canary_there
    assert not port.was_called()
    assert found.changed_outside == frozenset()
    assert found.ran.wall_s < MAX_WALL_S
    assert found.ran.peak_bytes < MAX_PEAK_BYTES


@pytest.mark.parametrize("name", mostly_full(HOSTILE, daily=DAILY))
def test_a_hostile_file_is_refused_by_a_real_child(
    name: str, inspected: dict[str, Future[Inspected]], port: CanaryPort
) -> None:
    found = inspected[name].result()
    assert found.ran.status == EXIT_REFUSED, found.ran.log
    assert found.ran.outcome is not None
    failure = found.ran.outcome.failure
    assert failure is not None
    assert failure.code == HOSTILE[name].code
    assert HOSTILE[name].says in f"{failure.message} | {failure.where}"
    assert failure.phase == "inspect"
    assert found.ran.outcome.outputs == ()
    assert found.appeared == frozenset()
    assert_harmless(found, port)


@pytest.mark.parametrize("name", mostly_full(BENIGN, daily=DAILY))
def test_a_benign_file_is_accepted_by_a_real_child(
    name: str, inspected: dict[str, Future[Inspected]], port: CanaryPort
) -> None:
    found = inspected[name].result()
    assert found.ran.status == EXIT_SUCCEEDED, (found.ran.log, found.ran.outcome)
    assert found.ran.outcome is not None
    assert found.ran.outcome.outputs == ("config.json", "inspection.json", "model.safetensors")
    assert {path.removeprefix("outputs/") for path in found.appeared} == set(found.ran.outcome.outputs)
    assert_harmless(found, port)


def test_the_bound_on_memory_was_held_against_what_children_took(
    inspected: dict[str, Future[Inspected]],
) -> None:
    peaks = [found.result().ran.peak_bytes for found in inspected.values()]
    if not peaks:
        pytest.skip("no file was asked for")
    # A child ends within a second or two: where the machine stands still for as long, nobody looked at it.
    assert sum(peak > 10**7 for peak in peaks) >= 0.9 * len(peaks)


@pytest.mark.slow
def test_scanners_and_torch_run_inside_the_childs_sandbox(tmp_path: Path) -> None:
    folder = tmp_path / "scanned"
    (folder / "job/inputs").mkdir(parents=True)
    write_open_clip(folder / "job" / UPLOAD_PATH, torch.float16)
    ran = run_child(folder, replace(SPEC, scanner_time_limit_s=120), kill_after_s=280)
    assert ran.status == EXIT_SUCCEEDED, ran.log
    inspection = INSPECTION_ADAPTER.validate_json((folder / "job/outputs/inspection.json").read_bytes())
    assert "reads the same" in inspection.findings[-1]  # torch itself, in a process of its own
    said = {evidence.name: evidence.verdict for evidence in inspection.scanners}
    assert said["picklescan"] == "nothing_found"
    # It wants a proof for torch's own function, which it finds on some machines and not on others.
    assert said["modelaudit"] in {"nothing_found", "suspicious"}


def test_there_are_benign_files_of_every_layout() -> None:
    assert len(BENIGN) >= 20
