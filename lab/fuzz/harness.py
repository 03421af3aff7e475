"""One target under libFuzzer, in a process of its own: `python -m lab.fuzz.harness TARGET CORPUS [FLAG…]`.

Started by fuzz.run. Stops at the first finding, which libFuzzer writes where `-artifact_prefix` says. What no
reader may do meanwhile is seen from outside by Python's audit hooks: write any file but its input, start a
program, open a connection.
"""

from __future__ import annotations

import importlib
import os
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

import atheris

from lab.fuzz.target import MODULES, run_one, target

MAX_ADDRESS_SPACE = 6 * 2**30
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


def main(arguments: list[str]) -> None:
    """Runs until libFuzzer ends the process."""
    name = arguments[1]
    if MODULES[name] == "lab.fuzz.checkpoints":
        importlib.import_module("torch")  # not watched: before the modules that are
    with atheris.instrument_imports(
        include=["sanitizer.attacks", "sanitizer.checkpoints", "sanitizer.data", "PIL"]
    ):
        tried = target(name)
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-", dir="/dev/shm"))
    watch = Rules(folder)

    def one_input(data: bytes) -> None:
        watch.is_on = True
        try:
            run_one(tried, data, folder)
        finally:
            watch.is_on = False

    resource.setrlimit(resource.RLIMIT_AS, (MAX_ADDRESS_SPACE, MAX_ADDRESS_SPACE))
    atheris.Setup([arguments[0], *arguments[2:], f"-max_len={tried.max_bytes}"], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
