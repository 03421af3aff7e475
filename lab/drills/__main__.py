"""`python -m lab.drills [NAME…] [--quick]`, behind `make drills`: run drills, keep records, write the page.

A drill is any module of this package with NAME, TITLE and run. One that has a good record for this very
commit is skipped unless `--again`; one that was cut (`--minutes`, Ctrl-C) goes on where it stopped.
Exit codes: 0 all promises kept, 1 one was not, 75 out of time: run it again, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import shutil
import sys
import time
from functools import partial
from pathlib import Path
from typing import cast

import lab.drills
from app.logs import configure_logging
from lab.drills import records
from lab.drills.drill import Drill, OutOfTime, Place

EXIT_OUT_OF_TIME = 75
_say = partial(print, flush=True)


def find_drills() -> dict[str, Drill]:
    """Every drill of this package by name, in the order of their module's names."""
    found: dict[str, Drill] = {}
    for info in pkgutil.iter_modules(lab.drills.__path__):
        if info.name != "__main__":
            module = importlib.import_module(f"lab.drills.{info.name}")
            if all(hasattr(module, name) for name in ("NAME", "TITLE", "run")):
                found[module.NAME] = cast(Drill, module)
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the chosen drills, all of them by default; returns the exit code."""
    known = find_drills()
    configure_logging(level="ERROR", json_lines=False)
    parser = argparse.ArgumentParser(
        prog="python -m lab.drills", description="Break things; see what happens."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known))
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--again", action="store_true", help="also what was done, and from the beginning")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=None, help="begin nothing new after so long")
    parser.add_argument("--folder", type=Path, default=records.ROOT / "var" / "drills")
    given = parser.parse_args(arguments)
    unknown = sorted(set(given.names) - set(known))
    if unknown:
        parser.error(f"no such drill: {', '.join(unknown)}; there are {', '.join(known)}")
    ends_at = float("inf") if given.minutes is None else time.monotonic() + 60 * given.minutes
    try:
        results = [_run(known[name], given, ends_at) for name in given.names or known]
    except KeyboardInterrupt:
        return 130
    except OutOfTime as error:
        _say(f"Out of time, {error}; the same command goes on from there.")
        return EXIT_OUT_OF_TIME
    finally:
        records.write_page()
    return 0 if all(results) else 1


def _run(drill: Drill, given: argparse.Namespace, ends_at: float) -> bool:
    if not given.again and records.is_done(drill.NAME, quick=given.quick):
        _say(f"{drill.NAME}: done at this commit; --again runs it once more")
        return True
    folder = given.folder / (f"{drill.NAME}-quick" if given.quick else drill.NAME)
    if given.again:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    _say(f"{drill.NAME}: {drill.TITLE}")
    began = time.monotonic()

    def say(sentence: str) -> None:
        _say(f"  {time.monotonic() - began:6.1f} s  {sentence}")

    place = Place(folder=folder, seed=given.seed, say=say, ends_at=ends_at)
    rows = drill.run(place, quick=given.quick)
    record = records.make(
        name=drill.NAME,
        title=drill.TITLE,
        rows=tuple(rows),
        quick=given.quick,
        seed=given.seed,
        took_s=time.monotonic() - began,
        num_left=len(place.cut),
    )
    records.keep(record)
    for row in rows:
        _say(f"  {'ok    ' if row.ok else 'FAILED'} {row.broken} ({row.times}×): {row.happened}")
    if place.cut:
        raise OutOfTime(f"{len(place.cut)} cases are left, the first is {place.cut[0]!r}")
    shutil.rmtree(folder, ignore_errors=True)
    return record.is_ok


if __name__ == "__main__":
    sys.exit(main())
