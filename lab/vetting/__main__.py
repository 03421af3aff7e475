"""Measure how many poisons `vet` sets aside; what draws.jsonl holds already is not run again.

python -m lab.vetting --folder var/vetting --cases badnet --draws 100
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from lab.vetting import tables
from lab.vetting.cases import CASES, NUM_DRAWS
from lab.vetting.measuring import Draw, as_line, draws_of, from_line

ROOT = Path(__file__).resolve().parents[2]
RAW = ROOT / "docs" / "vetting" / "draws.jsonl"


def main() -> None:
    """Run the draws that are missing, then write the tables of docs/vetting.md."""
    parser = argparse.ArgumentParser(prog="python -m lab.vetting", description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "var" / "vetting", help="models and embeddings")
    parser.add_argument("--raw", type=Path, default=RAW, help="one line a draw, appended to")
    parser.add_argument("--cases", nargs="*", default=[""], help="cases whose name contains one of these")
    parser.add_argument("--draws", type=int, default=NUM_DRAWS, help="of each case")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no draw after so many")
    given = parser.parse_args()
    ends = time.monotonic() + 60 * given.minutes
    known = read(given.raw)
    for case in CASES:
        if not any(part in case.name for part in given.cases):
            continue
        done = {draw.number for draw in known if draw.case == case.name}
        missing = range(len(done), given.draws)
        if not missing or time.monotonic() > ends:
            continue
        for draw in draws_of(case, given.folder, missing):
            with given.raw.open("a", encoding="utf-8") as file:
                file.write(as_line(draw) + "\n")
            print(case.name, draw.number, draw.found, flush=True)
            if time.monotonic() > ends:
                break
    tables.write(ROOT / "docs" / "vetting.md", read(given.raw))


def read(raw: Path) -> list[Draw]:
    """Every draw that was made so far."""
    if not raw.is_file():
        raw.parent.mkdir(parents=True, exist_ok=True)
        return []
    return [from_line(line) for line in raw.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main()
