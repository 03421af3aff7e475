"""One target under libFuzzer, in a process of its own: `python -m lab.fuzz.harness TARGET CORPUS [FLAG…]`.

Started by fuzz.run. Stops at the first finding, which libFuzzer writes where `-artifact_prefix` says.
"""

from __future__ import annotations

import importlib
import resource
import sys
import tempfile
from pathlib import Path

import atheris

from lab.fuzz.rules import Rules
from lab.fuzz.target import MODULES, run_one, target

MAX_ADDRESS_SPACE = 6 * 2**30


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
