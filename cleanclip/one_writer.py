"""One process at a time writes a file or into a folder. The lock ends with its process, however that ends."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cleanclip.errors import InUse

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def only_writer(lock: Path, what: Path) -> Iterator[None]:
    """Holds the file `lock`, which is removed at the end. Raises InUse where another download holds it, for
    `what` it writes."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            _try_lock(descriptor)
        except OSError as cause:
            raise InUse(what) from cause
        # One that ended in between removed the file that was opened here: a third would not see this lock.
        if not _is_still(lock, descriptor):
            raise InUse(what)
        try:
            yield
        finally:
            if sys.platform != "win32":  # an open file cannot be removed there
                lock.unlink(missing_ok=True)
    finally:
        os.close(descriptor)
        if sys.platform == "win32":
            _remove(lock)


def _is_still(lock: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(lock.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _remove(lock: Path) -> None:
    """Unless somebody has opened it."""
    try:
        lock.unlink(missing_ok=True)
    except OSError:
        return
