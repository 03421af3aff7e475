"""A child that dies every time of one job (its seed says which) and is the real child for all others.

    python -I -S poison_child.py SEED COMMAND… FOLDER

Standard library alone.
"""

import json
import os
import signal
import sys
from pathlib import Path


def main() -> None:
    seed, command, folder = int(sys.argv[1]), sys.argv[2:], Path(sys.argv[-1])
    if json.loads((folder / "spec.json").read_text()).get("seed") == seed:
        os.write(2, b"this job kills whoever touches it\n")
        os.kill(os.getpid(), signal.SIGSEGV)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
