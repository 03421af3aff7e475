"""A job's folder: made for one attempt, locked while it is in use, always removed. Knows no job's content.

{work_dir}/{job}.{attempt}/
  lock        held by the worker that uses the folder; free when that worker is dead
  job/        what the child may see and write: see sanitizer.jobspec
  logs/       what the child wrote to stderr, capped
  outgoing/   files on their way to the object store, out of the child's reach
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.logs import get_logger

_LOG = get_logger(__name__)
_LOCK_NAME = "lock"


@dataclass(frozen=True, kw_only=True)
class Workspace:
    folder: Path

    @property
    def job(self) -> Path:
        return self.folder / "job"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def outgoing(self) -> Path:
        return self.folder / "outgoing"


@dataclass(frozen=True, kw_only=True)
class DiskUse:
    size_bytes: int
    num_files: int
    """Folders and links included."""


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
        for part in (place.job, place.logs, place.outgoing):
            part.mkdir(mode=0o700)
        yield place
    finally:
        _remove(folder)
        os.close(lock)


def remove_orphans(work_dir: Path) -> list[str]:
    """Remove folders whose worker is dead; returns their names. Those in use are left alone."""
    removed = []
    for folder in sorted(work_dir.iterdir()) if work_dir.is_dir() else []:
        if folder.is_dir() and not folder.is_symlink() and not _is_in_use(folder):
            _remove(folder)
            removed.append(folder.name)
    return removed


def disk_use(folder: Path, *, stop_at: DiskUse) -> DiskUse:
    """What lies below `folder`, links not followed; counting ends where either figure passes `stop_at`."""
    size_bytes, num_files = 0, 0
    pending = [folder]
    while pending:
        try:
            entries = list(os.scandir(pending.pop()))
        except OSError:
            continue  # gone meanwhile, or closed to us by the child: then nothing can be added there either
        for entry in entries:
            num_files += 1
            with contextlib.suppress(OSError):
                size_bytes += entry.stat(follow_symlinks=False).st_blocks * 512
                if entry.is_dir(follow_symlinks=False):
                    pending.append(Path(entry.path))
        if size_bytes > stop_at.size_bytes or num_files > stop_at.num_files:
            break
    return DiskUse(size_bytes=size_bytes, num_files=num_files)


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


def _remove(folder: Path) -> None:
    """Also where the child took away its own permissions, or a late writer still adds files."""
    for _ in range(3):
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            if not folder.exists():
                return
        except OSError:
            _open_up(folder)
        else:
            return
    _LOG.error("workspace_not_removed", folder=folder.name)


def _open_up(folder: Path) -> None:
    """Give ourselves every folder back, each before it is looked into; links are not followed."""
    for path, names, _ in os.walk(folder):
        for below in (Path(path) / name for name in names):
            if not below.is_symlink():
                with contextlib.suppress(OSError):
                    below.chmod(0o700)
