"""Training states on their way: from the child's disk to the object store, and back on a later attempt.

A state is recorded (under the fence) only after every byte of it lies in the object store; the newest two
are kept. On the way back every file must have its recorded digest, or the state is not used at all.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from app.db.repositories.attempt_values import ClaimedJob
from app.domain.object_keys import in_prefix, is_safe_name, state_prefix
from app.logs import get_logger
from app.storage.errors import StorageError
from app.storage.port import ObjectStore
from sanitizer.jobspec import STATE_PATH
from sanitizer.progress import StateSaved
from worker.ledger import Ledger
from worker.transfer import download, file_sha256, patiently, upload

_LOG = get_logger(__name__)
_STATE_PATTERN = re.compile(rf"{STATE_PATH}/(step-\d{{8,12}})")
_MAX_FILES = 64
_MAX_READS = 3
_BESIDE = "baseline_audit.json"
"""Kept by the library beside its states (sanitizer.baseline); it travels with each, so that the audit before
cleaning is made once per job, not once per attempt."""


class BrokenState(Exception):
    """A recorded state is not there whole. Says what is wrong with it."""


@dataclass(frozen=True, kw_only=True)
class _Waiting:
    step: int
    folder: Path


class StateShipper:
    """Takes states as the child reports them (any thread), ships the newest when asked (one thread)."""

    def __init__(
        self, store: ObjectStore, ledger: Ledger, job: ClaimedJob, source: Path, outgoing: Path
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._job = job
        self._source = source
        self._outgoing = outgoing
        self._lock = threading.Lock()
        self._waiting: _Waiting | None = None
        self._newest: dict[str, Any] | None = dict(job.resume_state) if job.resume_state else None

    def take(self, event: StateSaved) -> None:
        """Keep the state by hard links, so that the child may prune it meanwhile. Never raises."""
        match = _STATE_PATTERN.fullmatch(event.path)
        if match is None or not 0 <= event.step < 10**12:
            _LOG.warning("state_ignored", path=event.path[:100])
            return
        try:
            folder = _linked_copy(self._source / event.path, self._outgoing / match[1])
            _link_beside(self._source / STATE_PATH / _BESIDE, folder / _BESIDE)
        except (OSError, ValueError) as error:
            _LOG.warning("state_not_taken", reason=str(error)[:200])
            return
        with self._lock:
            superseded, self._waiting = self._waiting, _Waiting(step=event.step, folder=folder)
        if superseded is not None and superseded.folder != folder:
            shutil.rmtree(superseded.folder, ignore_errors=True)

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
            patiently(send, check, patience_s=patience_s)
        oldest = (self._newest or {}).get("previous")
        previous = {name: value for name, value in (self._newest or {}).items() if name != "previous"}
        newest = {"prefix": prefix, "step": waiting.step, "files": files, "previous": previous or None}
        self._ledger.record_state(newest)
        self._newest = newest
        if oldest and oldest["prefix"] not in {prefix, previous.get("prefix")}:
            self._forget(oldest["prefix"])

    def _forget(self, prefix: str) -> None:
        try:
            self._store.delete_prefix(prefix)
        except StorageError as error:
            _LOG.info("old_state_left_to_the_sweeper", reason=type(error).__name__)


def restore(
    store: ObjectStore, job: ClaimedJob, folder: Path, check: Callable[[], None]
) -> tuple[Mapping[str, Any] | None, list[str]]:
    """Bring back the newest recorded state that verifies, into `folder`/state/.

    Returns it (None: begin anew) and a sentence for each state that could not be used.
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
            complaints.append(f"The training state of step {state['step']} cannot be used: {error}.")
            continue
        if (target / _BESIDE).exists():
            (target / _BESIDE).replace(target.parent / _BESIDE)
        return state, complaints
    return None, complaints


def _fetch(store: ObjectStore, state: Mapping[str, Any], target: Path, check: Callable[[], None]) -> None:
    for file in state["files"]:
        name = str(file["name"])
        key = in_prefix(state["prefix"], name)
        for _ in range(_MAX_READS):  # bytes also go wrong on the way
            got = patiently(partial(download, store, key, target / name, lambda _size: check()), check)
            if got.sha256 == file["sha256"]:
                break
        else:
            raise BrokenState(f"{name} has other bytes than were saved")


def _link_beside(source: Path, target: Path) -> None:
    """The same for one file, where it is one."""
    if source.exists() and stat.S_ISREG(source.lstat().st_mode):
        os.link(source, target, follow_symlinks=False)
        if not stat.S_ISREG(target.lstat().st_mode):
            raise ValueError("a state holds plain files only")


def _linked_copy(source: Path, target: Path) -> Path:
    """Hard links of the plain files of a folder. Raises ValueError for anything that is no plain file."""
    if not stat.S_ISDIR(source.lstat().st_mode):
        raise ValueError("a state is a folder")
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(mode=0o700)
    names = os.listdir(source)
    if not names or len(names) > _MAX_FILES:
        raise ValueError("a state has a few files")
    for name in names:
        if not is_safe_name(name) or not stat.S_ISREG((source / name).lstat().st_mode):
            raise ValueError("a state holds plain files only")
        os.link(source / name, target / name, follow_symlinks=False)
        if not stat.S_ISREG((target / name).lstat().st_mode):
            raise ValueError("a state holds plain files only")
    return target
