"""`pip install` for `make install`: says which package it is at, and names no address.

    python tools/show_install.py ARGUMENTS-OF-PIP-INSTALL

Standard library only: it runs before anything is installed.
"""

import os
import subprocess
import sys
from collections import deque

EVERY = 20
"""Packages between two lines."""


class Shown:
    """What is said of pip's lines."""

    def __init__(self) -> None:
        self._num = 0

    def line(self, text: str) -> str | None:
        """For a person; None: nothing worth a line."""
        if text.startswith("Installing collected packages:"):
            return f"  unpacking {text.count(',') + 1} packages …"
        if not text.startswith("Collecting "):
            return None
        self._num += 1
        if self._num % EVERY != 1:
            return None
        return f"  package {self._num}: {text.split()[1].split('==', maxsplit=1)[0]} …"


def main(arguments: list[str]) -> int:
    shown, last = Shown(), deque[str](maxlen=20)
    command = [sys.executable, "-m", "pip", "install", "--progress-bar", "off", *arguments]
    variables = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=variables
    ) as pip:
        assert pip.stdout is not None
        for text in pip.stdout:
            last.append(text)
            if (line := shown.line(text)) is not None:
                sys.stdout.write(f"{line}\n")
                sys.stdout.flush()
    if pip.returncode:
        sys.stderr.write("".join(last))
    return pip.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
