"""`python -m lab.reproduction`, behind `make reproduce`: runs what was not run yet, then writes the document.

Exit codes: 0 all cells are there (with --check: and the reference agrees), 1 not so, 130 Ctrl-C (what is done
is kept).
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from lab.reproduction import checking, document
from lab.reproduction.cells import Cell
from lab.reproduction.grid import in_order, questions, quick
from lab.reproduction.scheduling import run_all
from sanitizer.training.device import num_granted_cores

ROOT = Path(__file__).resolve().parents[2]
EXIT_DONE, EXIT_MISSING, EXIT_INTERRUPTED = 0, 1, 130
_say = partial(print, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Run the reproduction; returns the exit code."""
    given = _parser().parse_args(arguments)
    if given.check:
        return _check(given)
    try:
        failed = run_all(
            _asked(given),
            given.folder,
            jobs=given.jobs,
            stop_after_s=None if given.minutes is None else 60 * given.minutes,
            known={run.id: run for run in document.read_raw(given.raw)},
            say=_say,
        )
    except KeyboardInterrupt:
        _say("Stopped. What was run to its end is kept; the same command goes on from there.")
        return EXIT_INTERRUPTED
    cells = quick() if given.quick else in_order(questions())
    runs = document.gather(cells, given.folder, given.raw)
    if given.quick:
        document.write_quick(cells, runs, given.folder)
        _say(f"{given.folder / document.DOCUMENT} is written.")
    else:
        document.write_all(cells, runs, given.docs)
        _say(f"{given.docs / document.FOLDER / document.DOCUMENT} is written.")
    return EXIT_MISSING if failed or document.missing(cells, runs) else EXIT_DONE


def _asked(given: argparse.Namespace) -> tuple[Cell, ...]:
    """The cells to run, in order."""
    if given.quick:
        return quick()
    named = given.only or [""]
    return in_order(question for question in questions() if any(part in question.name for part in named))


def _check(given: argparse.Namespace) -> int:
    """Measure some cells again; a line each, then what was not checked."""
    raw = given.raw or given.docs / document.FOLDER / document.RAW
    published = {run.id: run for run in document.read_raw(raw if raw.is_file() else None)}
    cells = checking.draw(_asked(given), given.folder, given.check, seed=given.seed)
    checks = [checking.check(cell, given.folder, published) for cell in cells]
    for check in checks:
        _say(str(check))
    _say(checking.NOT_CHECKED)
    is_whole = len(checks) == given.check
    if not is_whole:
        _say(f"Only {len(checks)} cells have weights below {given.folder}.")
    return EXIT_DONE if is_whole and not any(check.differing for check in checks) else EXIT_MISSING


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab.reproduction", description=__doc__)
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "var" / "reproduction", help="weights and cells"
    )
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where the document is written")
    parser.add_argument(
        "--raw", type=Path, help="cells.jsonl of an earlier run: what it holds is not run again, but compared"
    )
    parser.add_argument("--quick", action="store_true", help="one model of one seed and every defence")
    parser.add_argument("--only", nargs="*", help="questions whose name contains one of these")
    parser.add_argument("--jobs", type=int, default=num_granted_cores(), help="cells at a time, a core each")
    parser.add_argument("--minutes", type=float, help="begin no cell after so many minutes")
    parser.add_argument("--check", type=int, metavar="N", help="measure N cells again by the plain reference")
    parser.add_argument("--seed", type=int, default=0, help="which cells --check draws")
    return parser


if __name__ == "__main__":
    sys.exit(main())
