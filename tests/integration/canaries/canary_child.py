"""The stand-in child, with two seeds of its own: 13 complains about a caption and dies, 14 takes its time.

    python canary_child.py STAND_IN KEPT… FOLDER

The stand-in and its kept files are named on the command line: a child may read no other file.
"""

import importlib.util
import json
import os
import signal
import sys
from pathlib import Path
from types import ModuleType

COMPLAINS, TAKES_ITS_TIME = 13, 14


def load(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("stand_in_child", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(stand_in: str, folder: Path) -> None:
    seed = json.loads((folder / "spec.json").read_text()).get("seed")
    if seed == COMPLAINS:
        shard = next((folder / "inputs" / "labelled").glob("*.tar"))
        sys.stderr.write(f"Traceback: ValueError: no such caption: {shard.read_text()}\n")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGSEGV)
    load(stand_in).work(folder, pace_s=0.2 if seed == TAKES_ITS_TIME else 0.005)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[-1]))
