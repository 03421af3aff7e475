"""How well the scan tells poisoned models from clean ones: tables in Markdown, from the rows alone.

A look counts for the weights that the model's row names. Poisoned models are compared with the clean test
models of their bed where there are any, else with those of the null. Scores are the larger, the more
suspicious: n of the null, m of poisoned models. Free of torch.
Sources: DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988); Clopper and Pearson, Biometrika 26 (1934);
conformal p-values, Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World (2005).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from cleanclip.vocabulary.intervals import Z_95
from lab.zoo.judging import DEFAULT_DETECTORS, SCAN, Judged, judge_all
from lab.zoo.plan import POISONED_SPLITS
from lab.zoo.rows import DETECTORS, ModelRow, ScanRow, read_models, read_scans
from tools.reference.markdown import table

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """A value between its bounds, which hold with 95 %."""

    value: float
    low: float
    high: float


def delong(null_n: Sequence[float], poisoned_m: Sequence[float]) -> Interval:
    """AUROC with DeLong's interval, cut to [0, 1].

    Its variance is that of the placements: V10 of each poisoned model is the share of null models below it,
    V01 of each null model the share of poisoned ones above it; var = S10/m + S01/n. At an AUROC of exactly 0
    or 1 it is 0, whatever n and m: there the interval says nothing. With one model of a kind the bounds are
    0 and 1.
    """
    null, poisoned = _checked(null_n, poisoned_m)
    n, m = len(null), len(poisoned)
    among_all = stats.rankdata(np.concatenate([null, poisoned]))  # equal scores share the mean of their ranks
    below_m = (among_all[n:] - stats.rankdata(poisoned)) / n
    above_n = 1 - (among_all[:n] - stats.rankdata(null)) / m
    value = float(below_m.mean())
    if min(n, m) < 2:
        return Interval(value, 0.0, 1.0)
    deviation = math.sqrt(below_m.var(ddof=1) / m + above_n.var(ddof=1) / n)
    return Interval(value, max(0.0, value - Z_95 * deviation), min(1.0, value + Z_95 * deviation))


def clopper_pearson(successes: int, n: int) -> Interval:
    """The exact 95 % interval of a binomial share, both tails 2.5 %; of no trial 0 to 1."""
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}")
    if n == 0:
        return Interval(math.nan, 0.0, 1.0)
    low = stats.beta.ppf(0.025, successes, n - successes + 1) if successes else 0.0
    high = stats.beta.ppf(0.975, successes + 1, n - successes) if successes < n else 1.0
    return Interval(successes / n, float(low), float(high))


def _checked(null_n: Sequence[float], poisoned_m: Sequence[float]) -> tuple[Floats, Floats]:
    null, poisoned = np.asarray(null_n, dtype=np.float64), np.asarray(poisoned_m, dtype=np.float64)
    if not len(null) or not len(poisoned):
        raise ValueError(f"{len(null)} null models and {len(poisoned)} poisoned ones: one of each is needed")
    if np.isnan(null).any() or np.isnan(poisoned).any():
        raise ValueError("a score is NaN")
    return null, poisoned


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
    return table(head, lines).rstrip() if lines else "**Not measured yet.**"


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
