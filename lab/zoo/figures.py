"""`python -m lab.zoo.figures`: the tables of docs/scanning.md, from the rows alone.

Reads no row of a closed split (`lab.zoo.freezing`): with one, nothing is written.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from statistics import fmean, median

from lab.zoo.freezing import Gate
from lab.zoo.intervals import Interval, clopper_pearson, clustered_bootstrap, delong
from lab.zoo.judging import SCAN, WORKS, Judged, judge_all, statistics_of
from lab.zoo.opening import gate_of
from lab.zoo.rows import SCANS_NAME, ModelRow, ScanRow, read_models, read_scans
from sanitizer.seeding import generator

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "scanning.md"
BEGIN, END = "<!-- tables: python -m lab.zoo.figures -->", "<!-- end of tables -->"
LEVELS = (0.01, 0.05, 0.1)
NULL_SIZES = (9, 19, 39, 59, 119)
_MOST_LISTED = 60
_NUM_SUBSETS = 200
_FEWEST = 20
"""Judged models, clean and poisoned, from which each statistic has an AUROC of its own."""
_MOST_STATISTICS = 20
"""Of a detector whose statistics have rows of their own; ease has one for each class."""


class Rows:
    """The rows of one state of the zoo: a look counts for the weights that the model's row names."""

    def __init__(self, folder: Path, gate: Gate) -> None:
        """With as many null models as were frozen, if any were. Raises HeldOut."""
        self.models = {row.name: row for row in gate.null_of(gate.admit(read_models(folder).values()))}
        self.scans = [
            row
            for row in gate.admit(read_scans(folder).values())
            if row.name in self.models and row.weights_sha256 == self.models[row.name].weights_sha256
        ]
        named = sorted({row.detector for row in self.scans})
        ours = {row.detector for row in self.scans if row.measured}
        self.detectors = [SCAN, *named] if len(ours) > 1 else named
        """The scan as a whole first, where it has several detectors."""


def tables(rows: Rows) -> str:
    """All tables in Markdown."""
    if not rows.models:
        return "No model was made yet."
    judged = {detector: judge_all(rows.models, rows.scans, detector) for detector in rows.detectors}
    parts = [
        _heading("Models", _models(rows.models.values())),
        _heading("Telling poisoned models from clean ones", _aurocs(rows, judged)),
        _heading("By family", _families(judged)),
        _heading("By the backdoor's ASR", _by_asr(judged)),
        _heading("False positives on clean test models", _false_positives(judged)),
        _heading("By the number of null models", _null_sizes(rows)),
        _heading("Cost", _costs(rows.scans, rows.models.values())),
    ]
    if len(rows.models) <= _MOST_LISTED:
        parts.append(_heading("Every model", _every_model(rows, judged)))
        parts += [
            _heading(f"Every statistic of {one}", _statistics(rows, one))
            for one in rows.detectors
            if one != SCAN
        ]
    return "\n\n".join(parts)


def with_tables(page: str, made: str) -> str:
    """The page with the tables between its marks. Raises ValueError if it has no marks."""
    found = re.compile(f"{re.escape(BEGIN)}\n.*?{re.escape(END)}", re.S)
    if not found.search(page):
        raise ValueError(f"The page has no {BEGIN} … {END}.")
    return found.sub(lambda _: f"{BEGIN}\n\n{made}\n\n{END}", page)


def write(folder: Path, page: Path, gate: Gate) -> None:
    """Put the tables of the rows in `folder` into the page. Raises HeldOut."""
    text = with_tables(page.read_text(encoding="utf-8"), tables(Rows(folder, gate)))
    page.write_text(text, encoding="utf-8")


def _models(models: Iterable[ModelRow]) -> str:
    groups: dict[tuple[str, str, str], list[ModelRow]] = {}
    for model in models:
        groups.setdefault((model.bed, model.split, model.family), []).append(model)
    lines = [
        f"| {bed} | {split} | {family} | {len(group)} | {_range(one.ca.value for one in group)} |"
        f" {_range(max(asr.value for asr in one.asr) for one in group if one.asr)} |"
        f" {median(one.cpu_s for one in group):.0f} |"
        for (bed, split, family), group in sorted(groups.items())
    ]
    return _table(("bed", "split", "family", "n", "CA %", "ASR %", "CPU-s, median"), lines)


def _aurocs(rows: Rows, judged: dict[str, list[Judged]]) -> str:
    lines = []
    for detector in rows.detectors:
        names = _names_of(rows, detector)
        lines += _auroc_lines(f"**{detector}**", judged[detector])
        for name in names if 1 < len(names) <= _MOST_STATISTICS and len(judged[detector]) >= _FEWEST else ():
            one = judge_all(rows.models, rows.scans, detector, only=name)
            lines += _auroc_lines(f"{detector}: {name}", one, names_targets=False)
    head = (
        "score",
        "poisoned are",
        "bed",
        "clean",
        "poisoned",
        "AUROC",
        "DeLong",
        "bootstrap",
        "target first",
        "in five",
    )
    return _table(head, lines)


def _auroc_lines(name: str, judged: Sequence[Judged], *, names_targets: bool = True) -> list[str]:
    lines = []
    beds = sorted({one.bed for one in judged})
    for split, bed in product(("development", "held_out"), beds):
        null = [one for one in judged if one.bed == bed and one.split == "calibration"]
        poisoned = [
            one
            for one in judged
            if (one.bed, one.split) == (bed, split) and one.asr is not None and one.asr >= WORKS
        ]
        if not null or not poisoned:
            continue
        scores = [one.score for one in null], [one.score for one in poisoned]
        exact = delong(*scores)
        seeds = [one.seed for one in null], [one.seed for one in poisoned]
        drawn = clustered_bootstrap(*scores, *seeds, seed=1)
        first = clopper_pearson(sum(one.place == 1 for one in poisoned), len(poisoned))
        five = clopper_pearson(sum(one.place is not None for one in poisoned), len(poisoned))
        lines.append(
            f"| {name} | {split} | {bed} | {len(null)} | {len(poisoned)} | {exact.value:.3f} |"
            f" {_bounds(exact)} | {_bounds(drawn)} |"
            + (f" {_percent(first)} | {_percent(five)} |" if names_targets else " | |")
        )
    return lines


def _families(judged: dict[str, list[Judged]]) -> str:
    lines = []
    for detector, all_of_it in judged.items():
        for family in sorted({one.family for one in all_of_it if one.asr is not None}):
            group = [
                one
                for one in all_of_it
                if one.family == family and one.asr is not None and (one.asr >= WORKS or family == "low_asr")
            ]
            lines.append(_rates(detector, family, group))
    return _table(("detector", "family", "n", *_RATE_HEAD), lines)


_RATE_HEAD = ("p ≤ 5 % (95 % interval)", "p ≤ 10 %", "median p", "target first", "in five")


def _rates(detector: str, what: str, group: Sequence[Judged]) -> str:
    if not group:
        return f"| {detector} | {what} | 0 | | | | | |"
    n = len(group)
    at_5, at_10 = (_rate_at(level, group) for level in (0.05, 0.1))
    first = clopper_pearson(sum(one.place == 1 for one in group), n)
    five = clopper_pearson(sum(one.place is not None for one in group), n)
    return (
        f"| {detector} | {what} | {n} | {at_5} | {at_10} |"
        f" {median(one.p for one in group):.3f} | {_percent(first)} | {_percent(five)} |"
    )


def _rate_at(level: float, group: Sequence[Judged]) -> str:
    if all(one.smallest_p > level for one in group):
        return "null too small"
    return _percent(clopper_pearson(sum(one.p <= level for one in group), len(group)))


def _by_asr(judged: dict[str, list[Judged]]) -> str:
    lines = []
    for detector, all_of_it in judged.items():
        for low, high, what in (
            (0, 0.5, "under 50 %"),
            (0.5, 0.9, "50 to 90 %"),
            (0.9, 1.01, "90 % and more"),
        ):
            group = [one for one in all_of_it if one.asr is not None and low <= one.asr < high]
            if group:
                lines.append(_rates(detector, what, group))
    return _table(("detector", "ASR", "n", *_RATE_HEAD), lines)


def _false_positives(judged: dict[str, list[Judged]]) -> str:
    lines = []
    for detector, all_of_it in judged.items():
        for split in ("test_clean", "shifted"):
            group = [one for one in all_of_it if one.split == split]
            if group:
                rates = [_rate_at(level, group) for level in LEVELS]
                lines.append(f"| {detector} | {split} | {len(group)} | {' | '.join(rates)} |")
    if not lines:
        return "**Not measured yet**: the clean test models are closed until thresholds are frozen."
    return _table(("detector", "models", "n", *(f"nominal {100 * one:.0f} %" for one in LEVELS)), lines)


def _null_sizes(rows: Rows) -> str:
    """TPR at a nominal 5 % with random parts of the null."""
    lines = []
    for detector in rows.detectors:
        looks = [row for row in rows.scans if row.detector == detector]
        largest = max(
            (sum(row.bed == bed and row.split == "calibration" for row in looks) for bed in _beds(looks)),
            default=0,
        )
        lines += [
            f"| {detector} | {size} | {1 / (size + 1):.3f} | {_tpr_with(rows, looks, size)} |"
            for size in NULL_SIZES
            if size <= largest
        ]
    if not lines:
        return f"**Not measured yet**: no bed has {NULL_SIZES[0]} null models."
    return _table(("detector", "null models", "smallest p", "TPR at 5 %, mean of draws"), lines)


def _tpr_with(rows: Rows, looks: Sequence[ScanRow], size: int) -> str:
    if size < 19:
        return "0, by arithmetic"
    rates = []
    for number in range(_NUM_SUBSETS):
        draws = generator(number, "zoo_null_subset")
        kept = []
        for bed in _beds(looks):
            null = [row for row in looks if row.bed == bed and row.split == "calibration"]
            if len(null) >= size:
                kept += [null[index] for index in draws.choice(len(null), size, replace=False)]
                kept += [row for row in looks if row.bed == bed and row.split in ("development", "held_out")]
        found = judge_all(rows.models, kept, looks[0].detector)
        working = [one for one in found if one.asr is not None and one.asr >= WORKS]
        if working:
            rates.append(fmean(one.p <= 0.05 for one in working))
    return f"{100 * fmean(rates):.0f} %" if rates else "no poisoned model"


def _beds(looks: Iterable[ScanRow]) -> list[str]:
    return sorted({row.bed for row in looks})


def _costs(scans: Sequence[ScanRow], models: Iterable[ModelRow]) -> str:
    lines = []
    for detector, bed in sorted({(row.detector, row.bed) for row in scans}):
        group = [row for row in scans if (row.detector, row.bed) == (detector, bed)]
        passes, seconds = median(row.num_passes for row in group), median(row.cpu_s for row in group)
        lines.append(f"| {detector} | {bed} | {passes:,.0f} | {seconds:.1f} | {passes / seconds:,.0f} |")
    for bed in sorted({model.bed for model in models}):
        seconds = median(model.cpu_s for model in models if model.bed == bed)
        lines.append(f"| training one model | {bed} | | {seconds:.0f} | |")
    return _table(("what", "bed", "passes", "CPU-s, median", "passes a CPU-s"), lines)


def _every_model(rows: Rows, judged: dict[str, list[Judged]]) -> str:
    of_model = {detector: {one.name: one for one in all_of_it} for detector, all_of_it in judged.items()}
    lines = []
    for name, model in sorted(rows.models.items()):
        asr = " / ".join(f"{100 * one.value:.1f}" for one in model.asr)
        cells = []
        for detector in rows.detectors:
            one = of_model[detector].get(name)
            place = "" if one is None or one.asr is None else f", {one.place or 'not in five'}"
            cells.append("" if one is None else f"{one.score:.1f} ({one.p:.2f}{place})")
        lines.append(
            f"| {name} | {model.family} | {100 * model.ca.value:.1f} | {asr} | {' | '.join(cells)} |"
        )
    explanation = "Score (p, and the place of the target among the suspects)."
    return explanation + "\n\n" + _table(("model", "family", "CA %", "ASR %", *rows.detectors), lines)


def _names_of(rows: Rows, detector: str) -> list[str]:
    return sorted({name for row in rows.scans if row.detector == detector for name in statistics_of(row)})


def _statistics(rows: Rows, detector: str) -> str:
    looks = sorted((row for row in rows.scans if row.detector == detector), key=lambda row: row.name)
    names = _names_of(rows, detector)
    if len(names) > _MOST_STATISTICS:
        return f"{len(names)} statistics: see `{SCANS_NAME}`."
    lines = []
    for row in looks:
        family = rows.models[row.name].family
        found = statistics_of(row)
        values = " | ".join(f"{found[name]:.3f}" for name in names)
        lines.append(f"| {row.name} | {family} | {values} |")
    return _table(("model", "family", *names), lines)


def _heading(title: str, content: str) -> str:
    return f"### {title}\n\n{content}"


def _table(head: Sequence[str], lines: Sequence[str]) -> str:
    return "\n".join([f"| {' | '.join(head)} |", "|" + "---|" * len(head), *lines])


def _bounds(one: Interval) -> str:
    if one.low == one.high:
        return "no overlap"
    return f"{one.low:.3f} to {one.high:.3f}"


def _percent(one: Interval) -> str:
    return f"{100 * one.value:.0f} % ({100 * one.low:.0f} to {100 * one.high:.0f})"


def _range(values: Iterable[float]) -> str:
    found = [100 * value for value in values]
    return f"{min(found):.1f} to {max(found):.1f}" if found else ""


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
