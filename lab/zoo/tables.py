"""How well the scan tells poisoned models from clean ones: tables in Markdown, from the rows alone.

A look counts for the weights that the model's row names. Poisoned models are compared with the clean test
models of their bed where there are any, else with those of the null.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

from lab.zoo.intervals import Interval, clopper_pearson, delong
from lab.zoo.judging import DEFAULT_DETECTORS, SCAN, Judged, judge_all
from lab.zoo.plan import POISONED_SPLITS
from lab.zoo.rows import DETECTORS, ModelRow, ScanRow, read_models, read_scans

CLEAN_FOR = {"development": "calibration", "held_out": "calibration", "second_held_out": "test_clean"}
"""Which clean models the poisoned ones of a split are compared with."""
LEVELS = (0.05, 0.1)
_RATES = ("p ≤ 5 % (95 % interval)", "p ≤ 10 %", "median p", "target first", "in five")


class Rows:
    """The rows of a folder, judged once by each detector and by the scan as a whole."""

    def __init__(self, folder: Path) -> None:
        self.models = read_models(folder)
        self.scans = [
            row
            for row in read_scans(folder).values()
            if row.name in self.models and row.weights_sha256 == self.models[row.name].weights_sha256
        ]
        named = [one for one in DETECTORS if any(row.detector == one for row in self.scans)]
        is_whole = set(DEFAULT_DETECTORS) <= set(named)
        self.judged: dict[str, list[Judged]] = {
            one: judge_all(self.models, self.scans, one) for one in ([SCAN] * is_whole + list(named))
        }


def tables(folder: Path) -> str:
    """All tables in Markdown."""
    rows = Rows(folder)
    parts = {
        "Models": _models(rows.models.values()),
        "Telling poisoned models from clean ones": _aurocs(rows),
        "By family": _families(rows),
        "False positives on clean test models": _false_positives(rows),
        "Cost": _costs(rows.scans),
    }
    return (
        "\n\n".join(["# What the scan finds in the zoo", *(f"## {k}\n\n{v}" for k, v in parts.items())])
        + "\n"
    )


def _table(head: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    if not lines:
        return "**Not measured yet.**"
    rows = (head, ["---"] * len(head), *lines)
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in rows)


def _models(models: Iterable[ModelRow]) -> str:
    groups: dict[tuple[str, str, str], list[ModelRow]] = {}
    for model in models:
        groups.setdefault((model.bed, model.split, model.family), []).append(model)
    lines = [
        (
            *what,
            len(group),
            _span(one.ca.value for one in group),
            _span(max(asr.value for asr in one.asr) for one in group if one.asr),
            f"{median(one.cpu_s for one in group):.0f}",
        )
        for what, group in sorted(groups.items())
    ]
    return _table(("bed", "split", "family", "n", "CA %", "ASR %", "CPU-s, median"), lines)


def _aurocs(rows: Rows) -> str:
    lines = []
    for detector, judged in rows.judged.items():
        for split in POISONED_SPLITS:
            for bed, poisoned in of_beds([one for one in judged if one.split == split and one.works]):
                clean = [
                    one for one in judged if one.split == CLEAN_FOR[split] and bed in (one.bed, "pooled")
                ]
                area = "not measured yet"
                if clean:
                    exact = delong([one.score for one in clean], [one.score for one in poisoned])
                    area = f"{exact.value:.3f} ({exact.low:.3f} to {exact.high:.3f})"
                named = named_in(1, poisoned), named_in(5, poisoned)
                lines.append((detector, split, bed, len(clean), len(poisoned), area, *named))
    head = ("score", "poisoned are", "bed", "clean", "poisoned", "AUROC (DeLong)", "target first", "in five")
    return _table(head, lines)


def _families(rows: Rows) -> str:
    lines = []
    for detector, judged in rows.judged.items():
        for split in POISONED_SPLITS:
            of_split = [one for one in judged if one.split == split]
            for family in sorted({one.family for one in of_split}):
                group = [
                    one for one in of_split if one.family == family and (one.works or family == "low_asr")
                ]
                lines.append((detector, split, family, len(group), *_rates(group)))
    return _table(("detector", "models", "family", "n", *_RATES), lines)


def _rates(group: Sequence[Judged]) -> Sequence[str]:
    if not group:
        return [""] * len(_RATES)
    p = f"{median(one.p for one in group):.3f}"
    return [*(rate_at(level, group) for level in LEVELS), p, named_in(1, group), named_in(5, group)]


def _false_positives(rows: Rows) -> str:
    lines = [
        (detector, bed, len(group), *(rate_at(level, group) for level in LEVELS))
        for detector, judged in rows.judged.items()
        for bed, group in of_beds([one for one in judged if one.split == "test_clean"])
    ]
    return _table(("detector", "bed", "n", "nominal 5 %", "nominal 10 %"), lines)


def _costs(scans: Sequence[ScanRow]) -> str:
    lines = []
    for detector, bed in sorted({(row.detector, row.bed) for row in scans}):
        group = [row for row in scans if (row.detector, row.bed) == (detector, bed)]
        passes, seconds = median(row.num_passes for row in group), median(row.cpu_s for row in group)
        lines.append((detector, bed, f"{passes:,.0f}", f"{seconds:.1f}"))
    return _table(("detector", "bed", "passes", "CPU-s, median"), lines)


def rate_at(level: float, group: Sequence[Judged]) -> str:
    """The share with p at or under the level."""
    if all(one.smallest_p > level for one in group):
        return "null too small"
    return _percent(clopper_pearson(sum(one.p <= level for one in group), len(group)))


def named_in(most: int, group: Sequence[Judged]) -> str:
    """The share whose target is among the first so many suspects."""
    named = sum(one.place is not None and one.place <= most for one in group)
    return _percent(clopper_pearson(named, len(group)))


def of_beds(group: Sequence[Judged]) -> list[tuple[str, list[Judged]]]:
    """By bed, and where there are several, all together first."""
    beds = sorted({one.bed for one in group})
    found: list[tuple[str, list[Judged]]] = [(bed, [one for one in group if one.bed == bed]) for bed in beds]
    return [("pooled", list(group)), *found] if len(beds) > 1 else found


def _percent(one: Interval) -> str:
    return f"{100 * one.value:.0f} % ({100 * one.low:.0f} to {100 * one.high:.0f})"


def _span(values: Iterable[float]) -> str:
    found = [100 * value for value in values]
    return f"{min(found):.1f} to {max(found):.1f}" if found else ""
