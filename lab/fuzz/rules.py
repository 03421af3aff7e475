"""What no reader may do while it is fuzzed, seen from outside by Python's audit hooks: write any file but its
input, start a program, open a connection.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

_FORBIDDEN = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "os.remove",
    "os.rename",
    "os.symlink",
    "os.link",
    "shutil.",
    "socket.connect",
    "socket.bind",
    "subprocess.Popen",
    "pickle.find_class",
    "ctypes.dlopen",
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class BrokenRule(BaseException):
    """Not an Exception: no reader's own handler may swallow it."""


class Rules:
    """Watches while `is_on`, at first False; a hook can never be taken out again."""

    def __init__(self, folder: Path) -> None:
        self.is_on = False
        self._folder = str(folder)
        sys.addaudithook(self._look)

    def _look(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.is_on:
            return
        if event.startswith(_FORBIDDEN):
            raise BrokenRule(f"{event}{arguments!r}"[:200])
        if event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING:
            place = os.fspath(arguments[0]) if not isinstance(arguments[0], int) else ""
            if place and not os.fsdecode(place).startswith((self._folder, "/dev/null")):
                raise BrokenRule(f"opened {place!r} for writing")
