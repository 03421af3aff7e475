"""A job's folder: made for one attempt, locked while it is in use, always removed.

{work_dir}/{job}.{attempt}/
  lock        held by the worker that uses the folder; free when that worker is dead
  job/        what the child may see and write: see cleanclip.vocabulary.jobspec
  logs/       what the child wrote to stderr, capped
  fresh/      likewise a folder for each child that begins again: see worker.publishing.fresh_child
  outgoing/   files on their way to the object store, out of the child's reach
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.logs import get_logger
from worker.confinement.trees import remove_tree

_LOG = get_logger(__name__)
_LOCK_NAME = "lock"


@dataclass(frozen=True, kw_only=True)
class Workspace:
    folder: Path

    @property
    def job(self) -> Path:
        return self.folder / "job"

    @property
    def fresh(self) -> Path:
        return self.folder / "fresh"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def outgoing(self) -> Path:
        return self.folder / "outgoing"


@contextmanager
def workspace(work_dir: Path, job_id: str, attempt: int) -> Iterator[Workspace]:
    """A fresh, private folder for one attempt; gone afterwards, however the block ends."""
    folder = work_dir / f"{job_id}.{attempt}"
    work_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    _remove(folder)
    folder.mkdir(mode=0o700)
    lock = os.open(folder / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        place = Workspace(folder=folder.resolve())
        for part in (place.job, place.logs, place.outgoing, place.fresh):
            part.mkdir(mode=0o700)
        yield place
    finally:
        try:
            _remove(folder)
        finally:
            os.close(lock)


def remove_orphans(work_dir: Path) -> list[str]:
    """Remove folders whose worker is dead; returns their names. Those in use are left alone.

    One that cannot be removed is logged and keeps no worker from its start.
    """
    removed = []
    for folder in sorted(work_dir.iterdir()) if work_dir.is_dir() else []:
        try:
            is_orphan = folder.is_dir() and not folder.is_symlink() and not _is_in_use(folder)
        except OSError as error:
            _LOG.error("workspace_not_removed", folder=folder.name, reason=type(error).__name__)
            continue
        if is_orphan and _remove(folder):
            removed.append(folder.name)
    return removed


def _is_in_use(folder: Path) -> bool:
    try:
        lock = os.open(folder / _LOCK_NAME, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _remove(folder: Path) -> bool:
    """Also where the child took away its own permissions, or nested folders without end. Never raises."""
    is_gone = remove_tree(folder)
    if not is_gone:
        _LOG.error("workspace_not_removed", folder=folder.name)
    return is_gone
