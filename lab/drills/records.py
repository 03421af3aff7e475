"""What is kept of a drill's run: rows, machine, date, seed and commit, as docs/reliability/NAME.json; and
docs/reliability.md, which is made of these records and never written by hand."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lab.drills.drill import Row
from sanitizer.whole_files import write_whole
from tools.reference.markdown import cell

ROOT = Path(__file__).resolve().parents[2]
RECORDS = ROOT / "docs" / "reliability"


@dataclass(frozen=True, kw_only=True)
class Record:
    """One run of one drill. `quick`: with fewer repetitions than the whole drill has."""

    name: str
    title: str
    quick: bool
    seed: int
    commit: str
    date: str
    took_s: float
    machine: str
    rows: tuple[Row, ...]
    num_left: int = 0
    """Pieces that there was no time for yet; the same command goes on with them."""

    @property
    def is_ok(self) -> bool:
        return bool(self.rows) and all(row.ok for row in self.rows) and not self.num_left


def keep(record: Record, folder: Path = RECORDS) -> Path:
    """Write the record; a quick run's never replaces a whole one's of the same commit."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record.name}.json"
    write_whole(path, json.dumps(asdict(record), indent=1, ensure_ascii=False) + "\n")
    return path


def load(path: Path) -> Record:
    """Raises ValueError, KeyError or TypeError for a file that is none."""
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    rows = tuple(Row(**{name: row[name] for name in row if name != "drill"}) for row in values["rows"])
    return Record(**(values | {"rows": rows}))


def load_all(folder: Path = RECORDS) -> list[Record]:
    return [load(path) for path in sorted(folder.glob("*.json"))]


def is_done(name: str, *, quick: bool, folder: Path = RECORDS) -> bool:
    """Whether this very commit has a good record of the drill, as thorough as is asked for."""
    path = folder / f"{name}.json"
    if not path.exists():
        return False
    found = load(path)
    return found.commit == commit() and found.is_ok and (quick or not found.quick)


def make(*, took_s: float, **facts: Any) -> Record:
    """A record of now, here, of this commit."""
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
    return Record(commit=commit(), date=date, machine=machine(), took_s=round(took_s, 1), **facts)


def commit() -> str:
    """The short name of the commit; with a plus sign where code differs from it."""
    name = _git("rev-parse", "--short", "HEAD")
    code = ("app", "worker", "sanitizer", "cleanclip", "lab")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", *code)
    return (name or "unknown") + ("+" if changed else "")


def machine() -> str:
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    cores = len(os.sched_getaffinity(0))
    return (
        f"{cores} cores {platform.machine()}, {memory_gib:.0f} GiB, {platform.system()} {platform.release()}"
    )


def _git(*arguments: str) -> str:
    found = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=30
    )
    return found.stdout.strip() if found.returncode == 0 else ""


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


def write_page(page: Path = PAGE, records: Sequence[Record] | None = None) -> None:
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
    words = [cell(text) for text in (row.broken, str(row.times), row.expected, row.happened)]
    verdict = "ok" if row.ok else "**FAILED**"
    return f"| {' | '.join(words)} | {row.lost} | {row.doubled} | {recovery} | {verdict} |\n"
