"""Moving bytes between the object store and the disk, broken off within a moment when somebody asks.

Transfers run in a thread that is left behind when the job stops: a store that hangs must not keep a cancel
waiting. Short outages are sat out here, while the heartbeat keeps the lease.
"""

import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from app.logs import get_logger
from app.storage.errors import StorageError
from app.storage.port import OCTETS, Download, ObjectStore

_LOG = get_logger(__name__)
T = TypeVar("T")
_LOOK_EVERY_S = 0.05
FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
_MAX_READS = 3
PATIENCE_S = 600.0
"""How long an object store may be away before the attempt is given up."""
_UPLOADING: set[threading.Thread] = set()


class _Task(Generic[T]):
    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self.result: list[T] = []
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name="transfer", daemon=True)

    def _run(self) -> None:
        try:
            self.result.append(self._work())
        except BaseException as error:  # noqa: BLE001 - handed over to the thread that waits
            self.error = error


def interruptible(work: Callable[[], T], check: Callable[[], None]) -> T:
    """Run `work` in a thread; `check`, called often, raises to leave it behind. Raises what `work` raises."""
    check()
    task = _Task(work)
    task.thread.start()
    while task.thread.is_alive():
        task.thread.join(_LOOK_EVERY_S)
        check()
    if task.error is not None:
        raise task.error
    return task.result[0]


def retry_while_unavailable(
    work: Callable[[], T], check: Callable[[], None], *, patience_s: float | None = None
) -> T:
    """`interruptible`, again and again while the store is unavailable, for `patience_s` at most."""
    deadline = time.monotonic() + (PATIENCE_S if patience_s is None else patience_s)
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            return interruptible(work, check)
        except StorageError as error:
            if not error.retryable or time.monotonic() + pause_s > deadline:
                raise
        _pause(pause_s, check)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def download(
    store: ObjectStore,
    key: str,
    path: Path,
    on_bytes: Callable[[int], None],
    *,
    most_bytes: int | None = None,
) -> Download:
    """Write the object to `path`, hashing on the way; `on_bytes` hears of every chunk and may raise. Of an
    object that has more than `most_bytes` no more is read.

    Memory stays at one chunk. Raises StorageError; with
    `retry_while_unavailable` the object is then read from its start.
    """
    digest = hashlib.sha256()
    size_bytes = 0
    with path.open("wb") as file:
        for chunk in store.stream(key):
            file.write(chunk)
            digest.update(chunk)
            size_bytes += len(chunk)
            on_bytes(len(chunk))
            if most_bytes is not None and size_bytes > most_bytes:
                break
    return Download(size_bytes=size_bytes, sha256=digest.hexdigest())


def fetch(
    store: ObjectStore,
    key: str,
    path: Path,
    check: Callable[[], None],
    *,
    sha256: str | None,
    size_bytes: int | None = None,
) -> Download | None:
    """`download`, patiently; again where other bytes come than are known, as some go wrong on the way.

    None where they were others each time. Raises StorageError, and what `check` raises.
    """
    for left in reversed(range(_MAX_READS)):
        got = retry_while_unavailable(
            lambda: download(store, key, path, lambda _size: check(), most_bytes=size_bytes), check
        )
        if sha256 in (None, got.sha256) and size_bytes in (None, got.size_bytes):
            return got
        _LOG.warning("other_bytes_than_expected", name=path.name, tries_left=left)
    return None


def upload(
    store: ObjectStore, key: str, path: Path, *, content_type: str = OCTETS, is_ours: Callable[[], bool]
) -> None:
    """Store a file; if it is no longer ours to write when it has arrived, take it away again.

    A process may sleep, or a thread be left behind, between the last look at the lease and the last byte:
    nobody would ever look for what arrives after the job was finished by another and swept.
    """
    thread = threading.current_thread()
    _UPLOADING.add(thread)
    try:
        store.put_file(key, path, content_type=content_type)
    finally:  # also where it failed: it may have arrived nevertheless
        try:
            if not is_ours():
                store.delete(key)
        finally:
            _UPLOADING.discard(thread)


def settle_uploads(seconds: float) -> None:
    """Let uploads that were left behind come to their end, for so long at most.

    A worker that ended sooner would take with it the thread that takes away what came too late.
    """
    deadline = time.monotonic() + seconds
    for thread in tuple(_UPLOADING):
        thread.join(max(0.0, deadline - time.monotonic()))


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pause(seconds: float, check: Callable[[], None]) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        check()
        time.sleep(_LOOK_EVERY_S)
