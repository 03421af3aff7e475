"""`python -m reproduction`, behind `make reproduce`: runs what was not run yet, then writes the document.

Exit codes: 0 all cells are there, 1 some failed or were left for later, 130 Ctrl-C (what is done is kept).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from reproduction.grid import in_order, questions, quick
from reproduction.scheduling import run_all
from sanitizer.training.device import num_granted_cores

ROOT = Path(__file__).resolve().parent.parent
EXIT_DONE, EXIT_MISSING, EXIT_INTERRUPTED = 0, 1, 130


def main(arguments: list[str] | None = None) -> int:
    """Run the reproduction; returns the exit code."""
    given = _parser().parse_args(arguments)
    asked = quick() if given.quick else questions()
    if given.only:
        asked = tuple(question for question in asked if any(part in question.name for part in given.only))
    try:
        failed = run_all(
            in_order(asked),
            given.folder,
            jobs=given.jobs,
            stop_after_s=None if given.minutes is None else 60 * given.minutes,
            say=lambda line: print(line, flush=True),
        )
    except KeyboardInterrupt:
        print("Stopped. What was run to its end is kept; the same command goes on from there.")
        return EXIT_INTERRUPTED
    return EXIT_MISSING if failed else EXIT_DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m reproduction", description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "var" / "reproduction")
    parser.add_argument("--quick", action="store_true", help="one model of one seed and every defence")
    parser.add_argument("--only", nargs="*", help="questions whose name contains one of these")
    parser.add_argument("--jobs", type=int, default=num_granted_cores(), help="cells at a time, a core each")
    parser.add_argument("--minutes", type=float, help="begin no cell after so many minutes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
