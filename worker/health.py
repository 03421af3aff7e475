"""Is this worker alive? It touches a file; `python -m worker.health` looks at the file and says so.

A file, because a worker that runs a job for hours answers no message meanwhile.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from app.settings import load_settings

TOUCH_EVERY_S = 10.0
STALE_AFTER_S = 60.0
_NAME = ".alive"


def alive_path(work_dir: Path) -> Path:
    return work_dir / _NAME


def keep_touching(work_dir: Path, ended: threading.Event) -> threading.Thread:
    """Touch the file until `ended` is set, from a thread."""

    def run() -> None:
        while True:
            work_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            alive_path(work_dir).touch()
            if ended.wait(TOUCH_EVERY_S):
                return

    thread = threading.Thread(target=run, name="alive", daemon=True)
    thread.start()
    return thread


def is_alive(work_dir: Path) -> bool:
    """Whether a worker touched the file lately."""
    try:
        return time.time() - alive_path(work_dir).stat().st_mtime < STALE_AFTER_S
    except OSError:
        return False


def main() -> int:
    """Exit status for a container's health check."""
    return 0 if is_alive(load_settings().worker.work_dir) else 1


if __name__ == "__main__":
    sys.exit(main())
