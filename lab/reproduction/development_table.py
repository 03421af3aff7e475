"""The table of docs/uar.md, from the raw rows of the development models. Runs nothing."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from cleanclip.spec.report import Estimate
from lab.reproduction.developing import Row, read_rows

ROOT = Path(__file__).resolve().parents[2]
PAGE, RAW = ROOT / "docs" / "uar.md", ROOT / "docs" / "reproduction" / "development.jsonl"
BEGIN, END = "<!-- development -->", "<!-- /development -->"
_HEAD = """\
| model | method | CA % | CA lost, points | ASR % by attack | PA % | CPU s |
|---|---|---|---|---|---|---|"""


def table(rows: Sequence[Row]) -> str:
    """One line for each run in the order of the rows; a run that failed has its error."""
    lines = [_line(row) for row in rows]
    seeds = {row.model: row.seed for row in rows}
    num_test = next(row.test.ca.n for row in rows if row.test is not None)
    named = ", ".join(f"{model} {seed}" for model, seed in seeds.items())
    explanation = (
        f"One model and one seed for each name ({named}), one run each, {num_test:,} test images. In "
        "brackets: 95 % intervals; of CA lost, the paired one. CPU seconds are of the fine-tuning, on a busy "
        "machine."
    )
    return "\n".join([explanation, "", _HEAD, *lines])


def with_table(page: str, rows: Sequence[Row]) -> str:
    """The page with the table between its marks."""
    found = re.compile(f"{re.escape(BEGIN)}\n.*?{re.escape(END)}\n", re.S)
    return found.sub(lambda _: f"{BEGIN}\n{table(rows)}\n{END}\n", page)


def _line(row: Row) -> str:
    if row.test is None:
        return f"| {row.model} | {row.method} | failed: {row.error} | | | | |"
    lost = row.ca_lost
    lost_words = "" if lost is None else f"{100 * lost.value:.1f} ({_bounds(lost.low, lost.high)})"
    asr = "; ".join(f"{family} {_share(one)}" for family, one in row.test.asr.items())
    pa = " / ".join(f"{100 * one.value:.0f}" for one in row.test.pa.values())
    cpu_s = f"{row.cpu_s:.0f}" if row.recipe is not None else ""
    return f"| {row.model} | {row.method} | {_share(row.test.ca)} | {lost_words} | {asr} | {pa} | {cpu_s} |"


def _share(one: Estimate) -> str:
    return f"{100 * one.value:.1f} ({_bounds(one.low, one.high)})"


def _bounds(low: float, high: float) -> str:
    return f"{100 * low:.1f} to {100 * high:.1f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the table into the page."""
    argparse.ArgumentParser(description=__doc__).parse_args(arguments)
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), read_rows(RAW)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
