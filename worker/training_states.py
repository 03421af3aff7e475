"""States on their way, of a training or the finished parts of a scan: from the child's disk to the object
store, and back on a later attempt.

A state is recorded (under the fence) only after every byte of it lies in the object store. Two are kept: the
newest and, before it, the last good one while the loss rises, else the one before. On the way back every file
must have its recorded digest, or the state is not used at all.
"""

import os
import re
import shutil
import stat
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from app.db.repositories.attempt_values import ClaimedJob
from app.domain.object_keys import in_prefix, is_safe_name, state_prefix
from app.domain.states import RESUMABLE
from app.logs import get_logger
from app.storage.errors import StorageError
from app.storage.port import ObjectStore
from cleanclip.vocabulary.jobspec import STATE_PATH
from cleanclip.vocabulary.progress import StateSaved
from worker.confinement.child_output import Excess
from worker.confinement.trees import has_holes, remove_tree
from worker.ledger import Ledger
from worker.staging.transfer import fetch, file_sha256, retry_while_unavailable, upload

_LOG = get_logger(__name__)
_STATE_PATTERN = re.compile(rf"{STATE_PATH}/(step-\d{{8,12}})")
_PLAIN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAX_FILES = 64
_MAX_BESIDE_BYTES = 64 * 1024 * 1024
_MAX_COPIES = 3
"""Of the audit beside the states, which an attempt makes once, if it cannot use an earlier one."""
_MAX_COMPLAINTS = 20
BESIDE = "baseline_audit.json"
"""Kept by the library beside its states (pipeline.baseline); it travels with each, so that the audit before
cleaning is made once per job, not once per attempt."""


class BrokenState(Exception):
    """A recorded state is not there whole. Says what is wrong with it."""


@dataclass(frozen=True, kw_only=True)
class _Waiting:
    step: int
    folder: Path
    is_good: bool


class StateShipper:
    """Takes states as the child reports them (any thread), ships the newest when asked (one thread)."""

    def __init__(
        self,
        store: ObjectStore,
        ledger: Ledger,
        job: ClaimedJob,
        source: Path,
        outgoing: Path,
        *,
        max_bytes: int,
    ) -> None:
        """`max_bytes`: the most that one state may hold, as its files claim."""
        self._store = store
        self._ledger = ledger
        self._job = job
        self._source = source
        self._outgoing = outgoing
        self._max_bytes = max_bytes
        self._num_taken = 0
        self._num_complaints = 0
        self.excess: Excess | None = None
        self._audit = _Audit(outgoing / BESIDE)
        self._lock = threading.Lock()
        self._waiting: _Waiting | None = None
        self._newest: dict[str, Any] | None = dict(job.resume_state) if job.resume_state else None

    def take(self, event: StateSaved) -> None:
        """Keep the state by hard links, so that the child may prune it meanwhile. Never raises."""
        match = _STATE_PATTERN.fullmatch(event.path)
        if match is None or not 0 <= event.step < 10**12 or self._job.kind not in RESUMABLE:
            self._complain("state_ignored", "no state of a job that has some", is_nonsense=True)
            return
        # A name of its own each time: the one before may be on its way to the store.
        self._num_taken += 1
        folder = self._outgoing / f"state-{self._num_taken}"
        try:
            _take_over(self._source, match[1], folder, self._audit, max_bytes=self._max_bytes)
        except (OSError, ValueError) as error:
            remove_tree(folder)
            self._complain("state_not_taken", type(error).__name__, is_nonsense=isinstance(error, ValueError))
            return
        with self._lock:
            superseded = self._waiting
            self._waiting = _Waiting(step=event.step, folder=folder, is_good=event.is_good)
        if superseded is not None:
            shutil.rmtree(superseded.folder, ignore_errors=True)

    def _complain(self, what: str, reason: str, *, is_nonsense: bool) -> None:
        """A few times; a child that goes on with states that are none is ended."""
        self._num_complaints += is_nonsense
        if self._num_complaints > _MAX_COMPLAINTS:
            self.excess = Excess(
                code="child_nonsense", message="The job's process reported states that do not exist."
            )
        else:
            _LOG.warning(what, reason=reason)

    @property
    def has_waiting(self) -> bool:
        return self._waiting is not None

    def ship(self, check: Callable[[], None], *, patience_s: float) -> None:
        """Upload and record the newest waiting state. Raises StorageError, and what `check` raises."""
        with self._lock:
            waiting, self._waiting = self._waiting, None
        if waiting is None:
            return
        try:
            self._ship(waiting, check, patience_s)
        finally:
            shutil.rmtree(waiting.folder, ignore_errors=True)

    def _ship(self, waiting: _Waiting, check: Callable[[], None], patience_s: float) -> None:
        prefix = state_prefix(self._job.project_id, self._job.id, self._job.attempt, waiting.step)
        files = []
        for path in sorted(waiting.folder.iterdir()):
            key = in_prefix(prefix, path.name)
            self._ledger.check()
            files.append({"name": path.name, "sha256": file_sha256(path), "size_bytes": path.stat().st_size})
            send = partial(upload, self._store, key, path, is_ours=self._ledger.is_ours)
            retry_while_unavailable(send, check, patience_s=patience_s)
        previous, dropped = kept_beside(self._newest, is_good=waiting.is_good)
        newest = {
            "prefix": prefix,
            "step": waiting.step,
            "is_good": waiting.is_good,
            "files": files,
            "previous": previous,
        }
        self._ledger.record_state(newest)
        self._newest = newest
        if dropped and dropped["prefix"] not in {prefix, (previous or {}).get("prefix")}:
            self._forget(dropped["prefix"])

    def _forget(self, prefix: str) -> None:
        try:
            self._store.delete_prefix(prefix)
        except StorageError as error:
            _LOG.info("old_state_left_to_the_sweeper", reason=type(error).__name__)


def kept_beside(
    recorded: Mapping[str, Any] | None, *, is_good: bool
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Of the two states that are recorded, the one that stays beside a new one, and the one to drop.

    `is_good`: whether the new one was saved while the loss was good (`StateSaved`). While it rises, states of
    that time push each other out, and not the last one from before.
    """
    if recorded is None:
        return None, None
    newer = {name: value for name, value in recorded.items() if name != "previous"}
    older = recorded.get("previous")
    if older and older.get("is_good") and not is_good and not newer.get("is_good"):
        return older, newer
    return newer, older


def restore(
    store: ObjectStore, job: ClaimedJob, folder: Path, check: Callable[[], None]
) -> tuple[Mapping[str, Any] | None, list[str]]:
    """Bring back the newest recorded state that verifies, into `folder`/state/.

    Returns it (None: begin again) and a sentence for each state that could not be used.
    """
    complaints = []
    newest = job.resume_state
    for state in (newest, (newest or {}).get("previous")):
        if not state:
            continue
        target = folder / STATE_PATH / f"step-{int(state['step']):08d}"
        target.mkdir(mode=0o700, parents=True)
        try:
            _fetch(store, state, target, check)
        except (BrokenState, StorageError) as error:
            if isinstance(error, StorageError) and error.retryable:
                raise
            shutil.rmtree(target)
            complaints.append(f"The saved state of step {state['step']} cannot be used: {error}.")
            continue
        if (target / BESIDE).exists():
            (target / BESIDE).replace(target.parent / BESIDE)
        return state, complaints
    return None, complaints


def _fetch(store: ObjectStore, state: Mapping[str, Any], target: Path, check: Callable[[], None]) -> None:
    for file in state["files"]:
        name = str(file["name"])
        key = in_prefix(state["prefix"], name)
        if fetch(store, key, target / name, check, sha256=file["sha256"]) is None:
            raise BrokenState(f"{name} has other bytes than were saved")


class _Audit:
    """Our copy of the audit beside the states, linked into each: it goes with several states, and a file of
    the child's with more than one name is not taken."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._num_copies = 0
        self._copied: tuple[int, ...] = ()

    def link(self, states: int, target: int) -> None:
        """Into the folder `target`, from the folder `states` where it changed. Raises OSError, ValueError."""
        with os.fdopen(os.open(BESIDE, _PLAIN, dir_fd=states), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_BESIDE_BYTES or status.st_nlink != 1:
                raise ValueError("the audit beside the states is not a small plain file")
            seen = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            if seen != self._copied:
                self._copy(file)
                self._copied = seen
        os.link(self._path, BESIDE, dst_dir_fd=target)

    def _copy(self, file: IO[bytes]) -> None:
        if self._num_copies == _MAX_COPIES:
            raise ValueError("the audit beside the states changes all the time")
        self._num_copies += 1
        self._path.unlink(missing_ok=True)  # states that wait keep the copy that they were taken with
        with self._path.open("xb") as copy:
            copy.write(file.read(_MAX_BESIDE_BYTES))


def _take_over(source: Path, name: str, target: Path, audit: _Audit, *, max_bytes: int) -> None:
    """Hard links of a state's plain files, made while the child may change every name on the way to them.

    Each step down is taken from an open descriptor and never through a link; what was looked at and what is
    linked are the same open file. Raises ValueError for what is not a state, OSError.
    """
    with ExitStack() as stack:
        job = _opened(stack, str(source), None)
        states = _opened(stack, STATE_PATH, job)
        state = _opened(stack, name, states)
        names = os.listdir(state)
        if not names or len(names) > _MAX_FILES or BESIDE in names or not all(map(is_safe_name, names)):
            raise ValueError("a state has a few files with plain names")
        remove_tree(target)
        target.mkdir(mode=0o700)
        taken = _opened(stack, str(target), None)
        size_bytes = sum(_link(file, state, taken) for file in names)
        with suppress(FileNotFoundError):
            audit.link(states, taken)
    if size_bytes > max_bytes:
        raise ValueError("a state is larger than one of such a model can be")


def _opened(stack: ExitStack, name: str, parent: int | None) -> int:
    descriptor = os.open(name, _PLAIN | os.O_DIRECTORY, dir_fd=parent)
    stack.callback(os.close, descriptor)
    return descriptor


def _link(name: str, parent: int, target: int) -> int:
    """Link one file of `parent` into `target`; returns its size in bytes."""
    file = os.open(name, _PLAIN, dir_fd=parent)
    try:
        status, folder = os.fstat(file), os.fstat(parent)
        is_own = status.st_uid == folder.st_uid == os.geteuid() and status.st_dev == folder.st_dev
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1 or not is_own:
            raise ValueError("a state holds plain files of its own only")
        if has_holes(file):
            raise ValueError("a file of a state has holes")
        os.link(f"/proc/self/fd/{file}", name, dst_dir_fd=target, follow_symlinks=True)
    finally:
        os.close(file)
    return status.st_size
