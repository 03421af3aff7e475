"""Training states are taken from under a living child's hands: its own plain files, and nothing else."""

import ctypes
import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.domain.states import JobKind
from cleanclip.vocabulary.progress import StateSaved
from worker.training_states import StateShipper, kept_beside

STEP = StateSaved(path="state/step-00000400", step=400)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A work folder with another job's state in it and a job of ours."""
    victim = tmp_path / "job_victim.1" / "job" / "state" / "step-00000400"
    victim.mkdir(parents=True)
    (victim / "model.safetensors").write_text("the victim's")
    (tmp_path / "own" / "job").mkdir(parents=True)
    (tmp_path / "own" / "outgoing").mkdir()
    return tmp_path


def shipper(work: Path, kind: JobKind = JobKind.SANITIZE, max_bytes: int = 1000) -> StateShipper:
    job: Any = SimpleNamespace(resume_state=None, project_id="p", id="j", attempt=1, kind=kind)
    nothing: Any = None
    own = work / "own"
    return StateShipper(nothing, nothing, job, own / "job", own / "outgoing", max_bytes=max_bytes)


def save(work: Path, size_bytes: int = 10) -> Path:
    state = work / "own" / "job" / "state" / "step-00000400"
    state.mkdir(parents=True)
    (state / "model.safetensors").write_bytes(bytes(size_bytes))
    (state.parent / "baseline_audit.json").write_text("{}")
    return state


def taken(work: Path) -> list[str]:
    return sorted(path.name for path in (work / "own" / "outgoing").glob("*/*"))


def test_a_state_is_kept_with_the_audit_beside_it_also_when_the_child_prunes_it(work: Path) -> None:
    state, ships = save(work), shipper(work)
    ships.take(STEP)
    (state / "model.safetensors").unlink()
    assert ships.has_waiting
    assert taken(work) == ["baseline_audit.json", "model.safetensors"]


def test_a_link_anywhere_on_the_way_leads_to_no_other_job(work: Path) -> None:
    states = work / "own" / "job" / "state"
    states.symlink_to("../../job_victim.1/job/state")
    shipper(work).take(STEP)
    states.unlink()
    states.mkdir()
    (states / "step-00000400").symlink_to("../../../job_victim.1/job/state/step-00000400")
    shipper(work).take(STEP)
    assert taken(work) == []


def test_a_file_with_another_name_somewhere_else_is_not_taken(work: Path) -> None:
    state = save(work)
    os.link(work / "job_victim.1/job/state/step-00000400/model.safetensors", state / "other.safetensors")
    ships = shipper(work)
    ships.take(STEP)
    assert not ships.has_waiting
    assert taken(work) == []


def test_a_folder_that_changes_places_with_a_link_is_never_followed(work: Path) -> None:
    state, keys = save(work), work / "keys"
    keys.mkdir()
    (keys / "signing.pem").write_text("secret")
    link = state.with_name("link")
    link.symlink_to(keys)
    ends = threading.Event()

    def swap() -> None:
        libc = ctypes.CDLL(None)
        while not ends.is_set():
            libc.renameat2(-100, bytes(state), -100, bytes(link), 2)

    swapper = threading.Thread(target=swap)
    swapper.start()
    ships = shipper(work)
    for _ in range(1500):
        ships.take(STEP)
        if "signing.pem" in taken(work):
            break
    ends.set()
    swapper.join()
    assert "signing.pem" not in taken(work)


def test_only_jobs_that_train_or_scan_have_states_and_none_larger_than_the_job_may_write(work: Path) -> None:
    save(work, size_bytes=1001)
    scans = shipper(work, JobKind.SCAN, max_bytes=2000)
    scans.take(STEP)
    assert scans.has_waiting
    for path in (work / "own" / "outgoing").glob("state-*/*"):
        path.unlink()
    for ships in (shipper(work), shipper(work, JobKind.AUDIT, max_bytes=2000)):
        ships.take(STEP)
        assert not ships.has_waiting
    assert taken(work) == []


def write_again(state: Path) -> None:
    """A later state: files of its own."""
    (state / "model.safetensors").unlink()
    (state / "model.safetensors").write_bytes(bytes(10))


def test_the_audit_beside_the_states_is_copied_once_and_linked_into_each(work: Path) -> None:
    state, ships = save(work), shipper(work)
    copies = set()
    for _ in range(10):
        write_again(state)
        ships.take(STEP)
        (copy,) = (work / "own" / "outgoing").glob("state-*/baseline_audit.json")
        copies.add(copy.stat().st_ino)
    assert len(copies) == 1


def test_an_audit_that_changes_with_every_state_is_not_copied_without_end(work: Path) -> None:
    """64 MiB for a line of 70 bytes: 2.3 GB in 72 seconds."""
    state, ships = save(work), shipper(work)
    for number in range(10):
        write_again(state)
        (state.parent / "baseline_audit.json").write_text("x" * number)
        ships.take(STEP)
    (copy,) = (work / "own" / "outgoing").glob("state-*/baseline_audit.json")
    assert copy.read_text() == "xx"


def test_a_child_that_tells_of_no_states_without_end_is_ended(work: Path) -> None:
    ships = shipper(work)
    for _ in range(25):
        ships.take(StateSaved(path="state/../../victim", step=1))
    assert ships.excess is not None
    assert ships.excess.code == "child_nonsense"


def test_a_file_with_holes_is_no_part_of_a_state(work: Path) -> None:
    state = save(work)
    os.truncate(state / "model.safetensors", 10 * 2**20)
    ships = shipper(work, max_bytes=2**40)
    ships.take(STEP)
    assert not ships.has_waiting


def record(step: int, is_good: bool | None, previous: dict[str, Any] | None = None) -> dict[str, Any]:
    said = {} if is_good is None else {"is_good": is_good}
    return {"prefix": f"step-{step}/", "step": step, "files": [], **said, "previous": previous}


@pytest.mark.parametrize(
    ("older", "newer", "new", "kept", "dropped"),
    [
        (True, True, True, 2, 1),
        (True, True, False, 2, 1),
        (True, False, False, 1, 2),
        (True, False, True, 2, 1),
        (False, False, False, 2, 1),
        (None, None, False, 2, 1),
    ],
    ids=["calm", "begins to rise", "rises on", "came down", "never good", "recorded before this was"],
)
def test_the_last_good_state_stays_while_the_loss_rises(
    older: bool | None, newer: bool | None, new: bool, kept: int, dropped: int
) -> None:
    stays, goes = kept_beside(record(2, newer, record(1, older)), is_good=new)
    assert stays is not None
    assert goes is not None
    assert (stays["step"], goes["step"]) == (kept, dropped)
    assert stays.get("previous") is None


def test_the_first_states_push_nothing_out() -> None:
    assert kept_beside(None, is_good=True) == (None, None)
    stays, goes = kept_beside(record(0, True), is_good=False)
    assert (stays, goes) == ({"prefix": "step-0/", "step": 0, "files": [], "is_good": True}, None)
