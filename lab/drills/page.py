"""docs/reliability.md, made from the kept records; nobody writes it by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lab.drills.drill import Row
from lab.drills.records import ROOT, Record, load_all

PAGE = ROOT / "docs" / "reliability.md"
_HEAD = """# What was broken, and what happened

Made by `python -m lab.drills` (`make drills`) from the records in `docs/reliability/`; do not edit. Every
drill runs on the embedded stack with real processes, and each that runs jobs ends with the ledger check
(`python -m app.cli ledger`), which reads PostgreSQL and the object store by itself.

**Lost**: what was accepted and is gone (jobs, rows, objects). **Doubled**: what was completed, published or
counted twice. **Recovery**: the longest time from the break to the end of what it disturbed. A drill marked
*quick* ran with fewer repetitions than the whole drill has.
"""
_COLUMNS = """| what was broken | times | expected | what happened | lost | doubled | recovery | |
|---|--:|---|---|--:|--:|--:|---|
"""


def write(page: Path = PAGE, records: Sequence[Record] | None = None) -> None:
    """Generate the page again."""
    found = load_all() if records is None else list(records)
    page.write_text(_HEAD + "".join(_section(record) for record in found), encoding="utf-8")


def _section(record: Record) -> str:
    how = " · *quick*" if record.quick else ""
    how += f" · *partial: {record.num_left} cases are still to be run*" if record.num_left else ""
    return (
        f"\n## {record.title}\n\n`{record.name}`{how} · {record.date} UTC · commit `{record.commit}` · seed "
        f"{record.seed} · took {record.took_s:.0f} s · {record.machine}\n\n"
        + _COLUMNS
        + "".join(_line(row) for row in record.rows)
    )


def _line(row: Row) -> str:
    recovery = "–" if row.recovery_s is None else f"{row.recovery_s:.1f} s"
    words = [_cell(text) for text in (row.broken, str(row.times), row.expected, row.happened)]
    verdict = "ok" if row.ok else "**FAILED**"
    return f"| {' | '.join(words)} | {row.lost} | {row.doubled} | {recovery} | {verdict} |\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
