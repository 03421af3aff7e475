"""docs/hostile-files.md: every file of the hostile corpus, what refused it, what it cost, what scanners say.

    python -m lab.benchmarks.hostile_files          takes some minutes; writes the page again

Each file is inspected by a real child, as a worker starts it; the scanners then look at those that hold a
pickle, each in a process of its own.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from cleanclip.vocabulary.jobspec import UPLOAD_PATH, InspectSpec
from cleanclip.vocabulary.recipe import DeclaredOptions
from sanitizer.checkpoints.scanners import SCANNERS, scan
from tests.fixtures.checkpoints import DECLARED
from tests.fixtures.hostile.corpus import HOSTILE, PICKLE_FAMILIES
from tests.fixtures.real_child import run_child
from tools.reference.markdown import table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "hostile-files.md"
SCANNER_TIME_LIMIT_S = 60.0
_SPEC = InspectSpec(filename="model.pt", declared=DeclaredOptions(**DECLARED), scanner_time_limit_s=0)
_PICKLES = {name for family in PICKLE_FAMILIES for name in family.files}
_SHOWN = {"nothing_found": "**nothing found**", "not_applicable": ""}
"""Every other verdict is shown as it is."""


@dataclass(frozen=True, kw_only=True)
class Row:
    name: str
    family: str
    tries: str
    code: str
    verdicts: tuple[str, ...]
    wall_s: float
    peak_bytes: int


def measure(name: str, folder: Path) -> Row:
    """One file, its child and its scanners."""
    file, upload = HOSTILE[name], folder / "job" / UPLOAD_PATH
    upload.parent.mkdir(parents=True)
    file.write(upload, folder / "job" / "canary")
    ran = run_child(folder, _SPEC)
    failure = None if ran.outcome is None else ran.outcome.failure
    scanned = scan(upload, is_pickle=name in _PICKLES, time_limit_s=SCANNER_TIME_LIMIT_S)
    upload.unlink()
    print(name, file=sys.stderr)
    return Row(
        name=name,
        family=file.family,
        tries=file.tries,
        code=f"status {ran.status}" if failure is None else failure.code,
        verdicts=tuple(evidence.verdict for evidence in scanned),
        wall_s=ran.wall_s,
        peak_bytes=ran.peak_bytes,
    )


def page(rows: Sequence[Row]) -> str:
    """The whole page as Markdown."""
    slowest_s, largest_bytes = max(row.wall_s for row in rows), max(row.peak_bytes for row in rows)
    versions = [f"{name} {version(distribution)}" for name, distribution in SCANNERS.items()]
    lines = [
        "# Hostile files",
        "",
        "Written by `python -m lab.benchmarks.hostile_files`; do not edit. One row a file of the corpus in",
        "`tests/fixtures/hostile`: what it tries, our reason, what scanners say of those that hold a pickle,",
        "seconds on the clock from the start of its child process to its end, and the child's peak memory.",
        "",
        f"{len(rows)} files on {datetime.now(UTC):%Y-%m-%d}; {', '.join(versions)}.",
        f"Slowest {slowest_s:.1f} s, largest {largest_bytes / 1e6:.0f} MB.",
        "The scanners add evidence; they decide nothing.",
        "",
        *_summary(rows),
    ]
    for family in dict.fromkeys(row.family for row in rows):
        lines += ["", f"## {family.capitalize()}", "", _table([row for row in rows if row.family == family])]
    return "\n".join(lines) + "\n"


def _summary(rows: Sequence[Row]) -> list[str]:
    pickles = [row for row in rows if row.name in _PICKLES]
    verdicts = list(dict.fromkeys(verdict for row in pickles for verdict in row.verdicts))
    counts = [Counter(row.verdicts[index] for row in pickles) for index in range(len(SCANNERS))]
    lines = ((verdict.replace("_", " "), *(count[verdict] for count in counts)) for verdict in verdicts)
    said = f"Of the {len(pickles)} files that play with a pickle or call something:"
    return [said, "", table(("", *SCANNERS), lines).rstrip()]


def _table(rows: Sequence[Row]) -> str:
    lines = []
    for row in rows:
        said = (_SHOWN.get(verdict, verdict.replace("_", " ")) for verdict in row.verdicts)
        measured = f"{row.wall_s:.1f}", f"{row.peak_bytes / 1e6:.0f}"
        lines.append((f"`{row.name}`", row.tries, f"`{row.code}`", *said, *measured))
    return table(("file", "tries", "our reason", *SCANNERS, "s", "MB"), lines).rstrip()


def main() -> None:
    """Two files at a time, as many as there are cores in the smallest machine that this is run on."""
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder, ThreadPoolExecutor(2) as pool:
        rows = list(pool.map(lambda name: measure(name, Path(folder) / name), HOSTILE))
    PAGE.write_text(page(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
