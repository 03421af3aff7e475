"""Is this process alive? It touches a file; `python -m worker.health` looks at the file and says so.

A file, because a worker that runs a job for hours answers no message meanwhile. It lies with the machine's
temporary files, which containers do not share, and says which process touches it: a file that another
container's or an earlier process left is nobody's sign of life.
"""

import os
import sys
import tempfile
import threading
import time
from pathlib import Path

TOUCH_EVERY_S = 10.0
STALE_AFTER_S = 60.0
_FOLDER = f"cleanclip-alive-{os.geteuid()}"
_STARTED_FIELD = 19
"""Of /proc/PID/stat behind the name: when the process began. A number may be used again, not that as well."""


def alive_folder() -> Path:
    """Where each process of this user keeps a file of its own; made for us alone."""
    folder = Path(tempfile.gettempdir()) / _FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        raise PermissionError(f"{folder} is not ours")
    return folder


def keep_touching(ended: threading.Event, folder: Path | None = None) -> threading.Thread:
    """Touch this process's file until `ended` is set, from a thread."""
    path = (folder or alive_folder()) / str(os.getpid())

    def run() -> None:
        while True:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            path.write_text(_started(os.getpid()) or "", encoding="ascii")
            if ended.wait(TOUCH_EVERY_S):
                path.unlink(missing_ok=True)
                return

    thread = threading.Thread(target=run, name="alive", daemon=True)
    thread.start()
    return thread


def is_alive(folder: Path | None = None) -> bool:
    """Whether a process that still runs touched its file lately."""
    for path in (folder or alive_folder()).iterdir():
        try:
            is_fresh = time.time() - path.stat().st_mtime < STALE_AFTER_S
            if is_fresh and _started(int(path.name)) == path.read_text(encoding="ascii"):
                return True
        except (OSError, ValueError):
            continue
    return False


def _started(pid: int) -> str | None:
    """When the process with that number began, as the kernel counts it; None where there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return text.rpartition(")")[2].split()[_STARTED_FIELD]
    except (OSError, IndexError):
        return None


def main() -> int:
    """Exit status for a container's health check."""
    return 0 if is_alive() else 1


if __name__ == "__main__":
    sys.exit(main())
