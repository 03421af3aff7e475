"""`python -m lab.zoo.figures`: the tables of docs/scanning.md, from the rows alone.

Reads no row of a closed split (`lab.zoo.freezing`): with one, nothing is written.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

from lab.zoo import clean_tables, detection_tables, failures, lineages, word_tables
from lab.zoo.detection_tables import MOST_STATISTICS, names_of
from lab.zoo.freezing import Gate
from lab.zoo.judging import SCAN, statistics_of
from lab.zoo.markdown import cells, heading, table, value_range
from lab.zoo.opening import ROOT, gate_of
from lab.zoo.published import Rows
from lab.zoo.rows import MODELS_NAME, SCANS_NAME, ModelRow, ScanRow

PAGE = ROOT / "docs" / "scanning.md"
BEGIN, END = "<!-- tables: python -m lab.zoo.figures -->", "<!-- end of tables -->"
_MOST_LISTED = 60


def tables(rows: Rows) -> str:
    """All tables in Markdown."""
    if not rows.all_models:
        return "No model was made yet."
    parts = [
        heading("Against the aims, on held-out families", detection_tables.aims(rows)),
        heading("Models", _models(rows.all_models)),
        heading("Telling poisoned models from clean ones", detection_tables.aurocs(rows)),
        heading("By family", detection_tables.families(rows)),
        heading("By the backdoor's ASR", detection_tables.by_asr(rows)),
        heading("False positives on clean test models", clean_tables.false_positives(rows)),
        heading("Universal adversarial patterns are not backdoors", clean_tables.universal(rows)),
        heading("Clean models that were trained otherwise", clean_tables.shifted(rows)),
        heading("Attackers who know the scan", detection_tables.attackers(rows)),
        heading("Models that were fine-tuned from a clean base", lineages.section(rows.folder)),
        heading("By the number of null models", detection_tables.null_sizes(rows)),
        heading("Naming the target in words", word_tables.recall(rows)),
        heading("What was found, in pictures", failures.section(rows)),
        heading("Cost", _costs(rows.scans, rows.all_models)),
        *_not_judged(rows),
    ]
    if len(rows.models) > _MOST_LISTED:
        return "\n\n".join(
            [*parts, f"Every model has a row in `{MODELS_NAME}`, every look one in `{SCANS_NAME}`."]
        )
    statistics = [
        heading(f"Every statistic of {detector}", _statistics(rows, detector))
        for detector in rows.detectors
        if detector != SCAN
    ]
    return "\n\n".join([*parts, heading("Every model", _every_model(rows)), *statistics])


def with_tables(page: str, made: str) -> str:
    """The page with the tables between its marks. Raises ValueError if it has no marks."""
    found = re.compile(f"{re.escape(BEGIN)}\n.*?{re.escape(END)}", re.S)
    if not found.search(page):
        raise ValueError(f"The page has no {BEGIN} … {END}.")
    return found.sub(lambda _: f"{BEGIN}\n\n{made}\n\n{END}", page)


def write(folder: Path, page: Path, gate: Gate) -> None:
    """Put the tables of the rows in `folder` into the page, and their pictures beside it. Raises HeldOut."""
    rows = Rows(folder, gate)
    text = with_tables(page.read_text(encoding="utf-8"), tables(rows))
    failures.write(rows, page.parent)
    page.write_text(text, encoding="utf-8")


def _not_judged(rows: Rows) -> list[str]:
    """Looks that no table has."""
    return [
        f"{detector} looked at {sum(row.detector == detector for row in rows.scans)} models, and no bed has"
        " enough null models with such a look, so it is in no table."
        for detector, judged in rows.judged.items()
        if not judged
    ]


def _models(models: Iterable[ModelRow]) -> str:
    groups: dict[tuple[str, str, str], list[ModelRow]] = {}
    for model in models:
        groups.setdefault((model.bed, model.split, model.family), []).append(model)
    lines = [
        cells(
            *what,
            len(group),
            value_range(one.ca.value for one in group),
            value_range(max(asr.value for asr in one.asr) for one in group if one.asr),
            f"{median(one.cpu_s for one in group):.0f}",
        )
        for what, group in sorted(groups.items())
    ]
    return table(("bed", "split", "family", "n", "CA %", "ASR %", "CPU-s, median"), lines)


def _costs(scans: Sequence[ScanRow], models: Iterable[ModelRow]) -> str:
    lines = []
    for detector, bed in sorted({(row.detector, row.bed) for row in scans}):
        group = [row for row in scans if (row.detector, row.bed) == (detector, bed)]
        passes, seconds = median(row.num_passes for row in group), median(row.cpu_s for row in group)
        lines.append(
            cells(detector, bed, f"{passes:,.0f}", f"{seconds:.1f}", f"{passes / max(seconds, 0.1):,.0f}")
        )
    for bed in sorted({model.bed for model in models}):
        seconds = median(model.cpu_s for model in models if model.bed == bed)
        lines.append(cells("training one model", bed, "", f"{seconds:.0f}", ""))
    return table(("what", "bed", "passes", "CPU-s, median", "passes a CPU-s"), lines)


def _every_model(rows: Rows) -> str:
    of_model = {detector: {one.name: one for one in judged} for detector, judged in rows.judged.items()}
    lines = []
    for name, model in sorted(rows.models.items()):
        asr = " / ".join(f"{100 * one.value:.1f}" for one in model.asr)
        says = []
        for detector in rows.detectors:
            one = of_model[detector].get(name)
            place = "" if one is None or one.asr is None else f", {one.place or 'not in five'}"
            says.append("" if one is None else f"{one.score:.1f} ({one.p:.2f}{place})")
        lines.append(cells(name, model.family, f"{100 * model.ca.value:.1f}", asr, *says))
    explanation = "Score (p, and the place of the target among the suspects)."
    return explanation + "\n\n" + table(("model", "family", "CA %", "ASR %", *rows.detectors), lines)


def _statistics(rows: Rows, detector: str) -> str:
    looks = sorted((row for row in rows.scans if row.detector == detector), key=lambda row: row.name)
    names = names_of(rows, detector)
    if len(names) > MOST_STATISTICS:
        return f"{len(names)} statistics: see `{SCANS_NAME}`."
    lines = []
    for row in looks:
        found = statistics_of(row)
        lines.append(cells(row.name, rows.models[row.name].family, *(f"{found[name]:.3f}" for name in names)))
    return table(("model", "family", *names), lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the tables into the page; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m lab.zoo.figures", description=__doc__)
    parser.add_argument("--rows", type=Path, default=ROOT / "docs" / "scanning")
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args(arguments)
    write(given.rows, given.page, gate_of(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
