"""`python -m lab.zoo`, behind `make zoo`: makes and scans the models that are missing, then writes the page.

Exit codes: 0 all models are there, 1 some are missing, 2 held-out models may not be opened yet, 130 Ctrl-C
(what is done is kept).
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import cast

from lab.freezing import HeldOut
from lab.zoo import demo_null, figures
from lab.zoo.opening import gate_of
from lab.zoo.plan import BEDS, OPEN_SPLITS, SPLITS, WANTED, BedName, Split, in_order
from lab.zoo.running import Busy, Folders, run_all
from lab.zoo.scanning import DETECTORS, OPTIONAL

ROOT = Path(__file__).resolve().parents[2]
EXIT_DONE, EXIT_MISSING, EXIT_CLOSED, EXIT_INTERRUPTED = 0, 1, 2, 130


def main(arguments: list[str] | None = None) -> int:
    """Run the zoo; returns the exit code."""
    given = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _as_ctrl_c)
    splits, beds = cast(tuple[Split, ...], given.splits), cast(tuple[BedName, ...], given.beds)
    wanted = {split: min(given.most or count, count) for split, count in WANTED.items()}
    models = tuple(
        one
        for one in in_order(tuple(splits), tuple(beds), wanted)
        if given.families is None or one.family in given.families
    )
    gate = gate_of(ROOT)
    try:
        unfinished = run_all(
            models,
            given.detectors,
            Folders(rows=given.rows, weights=given.weights),
            gate,
            keep_bytes=round(given.keep_gb * 1e9),
            stop_after_s=None if given.minutes is None else 60 * given.minutes,
            say=lambda line: print(line, flush=True),
        )
    except HeldOut as error:
        print(error, file=sys.stderr)
        return EXIT_CLOSED
    except Busy as error:
        print(error, file=sys.stderr)
        return EXIT_MISSING
    except KeyboardInterrupt:
        print("Stopped. Finished models and looks are kept; the same command goes on from there.")
        return EXIT_INTERRUPTED
    if not given.no_page:
        figures.write(given.rows, figures.PAGE, gate)
        demo_null.update(given.rows, given.weights)
    print(f"{unfinished} of {len(models)} models are not finished.")
    return EXIT_MISSING if unfinished else EXIT_DONE


def _as_ctrl_c(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab.zoo", description=__doc__)
    open_splits = [split for split in SPLITS if split in OPEN_SPLITS]
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=open_splits)
    parser.add_argument("--beds", nargs="+", choices=list(BEDS), default=list(BEDS))
    parser.add_argument("--families", nargs="+", help="only models of these families; clean ones are 'clean'")
    looks = [*DETECTORS, *OPTIONAL]
    parser.add_argument("--detectors", nargs="+", choices=looks, default=list(DETECTORS))
    parser.add_argument("--most", type=int, help="models of each split and bed, if fewer than a full run")
    parser.add_argument("--minutes", type=float, help="begin no model after so many minutes")
    parser.add_argument("--rows", type=Path, default=ROOT / "docs" / "scanning", help="where rows are kept")
    parser.add_argument("--weights", type=Path, default=ROOT / "var" / "zoo", help="where weights lie")
    parser.add_argument(
        "--keep-gb", type=float, default=0.0, help="weights to keep; the seed makes them again"
    )
    parser.add_argument(
        "--no-page", action="store_true", help="write neither docs/scanning.md's tables nor the demo's null"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
