"""`python -m lab.zoo`, behind `make zoo`: makes and scans the models that are missing; writes tables.

Exit codes: 0 all models are there, 1 some are missing, 130 Ctrl-C (what is done is kept).
"""

from __future__ import annotations

import argparse
import signal
import sys
from functools import partial
from pathlib import Path
from types import FrameType
from typing import cast

from lab.zoo import demo_null
from lab.zoo.judging import DEFAULT_DETECTORS
from lab.zoo.plan import BEDS, SPLITS, WANTED, BedName, Split, in_order
from lab.zoo.rows import DETECTORS
from lab.zoo.running import Busy, Folders, run_all
from lab.zoo.tables import tables

ROOT = Path(__file__).resolve().parents[2]
TABLES = "tables.md"
EXIT_DONE, EXIT_MISSING, EXIT_INTERRUPTED = 0, 1, 130


def main(arguments: list[str] | None = None) -> int:
    """Run the zoo; returns the exit code."""
    given = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _as_ctrl_c)
    splits, beds = cast(tuple[Split, ...], given.splits), cast(tuple[BedName, ...], given.beds)
    wanted = {split: min(given.most or count, count) for split, count in WANTED.items()}
    models = in_order(tuple(splits), tuple(beds), wanted)
    folders = Folders(rows=given.rows, weights=given.weights)
    stop_after_s = None if given.minutes is None else 60 * given.minutes
    say = partial(print, flush=True)
    try:
        unfinished = run_all(models, given.detectors, folders, stop_after_s=stop_after_s, say=say)
    except Busy as error:
        print(error, file=sys.stderr)
        return EXIT_MISSING
    except KeyboardInterrupt:
        print("Stopped. Finished models and looks are kept; the same command goes on from there.")
        return EXIT_INTERRUPTED
    (given.weights / TABLES).write_text(tables(given.rows), encoding="utf-8")
    print(f"{given.weights / TABLES} is written.")
    if not given.no_demo:
        demo_null.update(given.rows, given.weights)
    print(f"{unfinished} of {len(models)} models are not finished.")
    return EXIT_MISSING if unfinished else EXIT_DONE


def _as_ctrl_c(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab.zoo", description=__doc__)
    parser.add_argument(
        "--splits", nargs="+", choices=SPLITS, default=["calibration", "development", "held_out"]
    )
    parser.add_argument("--beds", nargs="+", choices=list(BEDS), default=list(BEDS))
    parser.add_argument("--detectors", nargs="+", choices=DETECTORS, default=list(DEFAULT_DETECTORS))
    parser.add_argument("--most", type=int, help="models of each split and bed, if fewer than a full run")
    parser.add_argument("--minutes", type=float, help="begin no model after so many minutes")
    parser.add_argument("--rows", type=Path, default=ROOT / "docs" / "scanning", help="where rows are kept")
    parser.add_argument(
        "--weights", type=Path, default=ROOT / "var" / "zoo", help="for weights and the tables"
    )
    parser.add_argument("--no-demo", action="store_true", help="leave the demo's null as it is")
    return parser


if __name__ == "__main__":
    sys.exit(main())
