"""Looking at processes from outside, through /proc."""

import contextlib
import os
import time
from pathlib import Path


def processes_below(folder: Path) -> list[str]:
    """Pid and command line of all processes of this folder: it is named, worked in or logged to."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                places = [os.readlink(entry / "cwd"), os.readlink(entry / "fd" / "1")]
                if str(folder) in line or any(place.startswith(str(folder)) for place in places):
                    found.append(f"{entry.name} {line}")
    return found


def assert_all_gone(folder: Path, timeout_s: float = 20.0) -> None:
    """Wait until no process of this folder is left; fails with what is."""
    deadline = time.monotonic() + timeout_s
    while left := processes_below(folder):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
