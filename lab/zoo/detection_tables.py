"""How well poisoned models are told from clean ones: tables of docs/scanning.md."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median

from lab.zoo.intervals import clopper_pearson, clustered_bootstrap, delong
from lab.zoo.judging import DEFAULT_DETECTORS, Judged, judge_all, statistics_of
from lab.zoo.markdown import NOT_YET, bounds, cells, percent, table, value_range
from lab.zoo.published import POISONED_SPLITS, Rows, named_in, of_beds, rate_at, works
from lab.zoo.rows import ScanRow
from sanitizer.seeding import generator

CLEAN_FOR = {"development": "calibration", "held_out": "calibration", "second_held_out": "test_clean"}
"""Which clean models the poisoned ones of a split are compared with."""
NULL_SIZES = (9, 19, 39, 59, 119)
_NUM_SUBSETS = 20
_FEWEST = 20
"""Judged models, clean and poisoned, from which each statistic has an AUROC of its own."""
MOST_STATISTICS = 20
"""Of a detector whose statistics have rows of their own; ease has one for each class."""


def aims(rows: Rows) -> str:
    """What was aimed at on families that were held out until the last freezing, and what was reached."""
    poisoned = [one for one in rows.judged_by_scan if one.split == "second_held_out" and works(one)]
    clean = [one for one in rows.judged_by_scan if one.split == "test_clean"]
    if not poisoned or not clean:
        return NOT_YET
    area = delong([one.score for one in clean], [one.score for one in poisoned])
    found = clopper_pearson(sum(one.p <= 0.05 for one in poisoned), len(poisoned))
    wrong = clopper_pearson(sum(one.p <= 0.05 for one in clean), len(clean))
    five = clopper_pearson(sum(one.place is not None for one in poisoned), len(poisoned))
    lines = [
        cells(
            "AUROC, pooled", "at least 0.95", f"{area.value:.3f} ({bounds(area)})", _yes(area.value >= 0.95)
        ),
        cells("TPR at a nominal 5 %", "at least 80 %", percent(found), _yes(found.value >= 0.8)),
        cells(
            "FPR at a nominal 5 %",
            "5 % in its interval",
            percent(wrong),
            _yes(wrong.low <= 0.05 <= wrong.high),
        ),
        cells("target in five", "at least 90 %", percent(five), _yes(five.value >= 0.9)),
    ]
    about = f"{len(poisoned)} held-out models with an ASR of 90 % and more, {len(clean)} clean test models."
    return about + "\n\n" + table(("aim", "wanted", f"measured ({rows.ours})", "reached"), lines)


def _yes(holds: bool) -> str:
    return "yes" if holds else "**no**"


def aurocs(rows: Rows) -> str:
    """Of every detector; of its statistics where they are few."""
    lines = []
    for detector, judged in rows.judged.items():
        names = names_of(rows, detector)
        lines += _auroc_lines(f"**{detector}**", judged)
        for name in names if 1 < len(names) <= MOST_STATISTICS and len(judged) >= _FEWEST else ():
            one = judge_all(rows.models, rows.scans, detector, only=name)
            lines += _auroc_lines(f"{detector}: {name}", one, is_whole=False)
    head = ("score", "poisoned are", "bed", "clean", "poisoned", "AUROC", "DeLong", "bootstrap")
    about = (
        "Development models and those of the first held-out families are compared with those of the null, the"
        " second held-out ones with the clean test models."
    )
    return about + "\n\n" + table((*head, "target first", "in five"), lines)


def _auroc_lines(name: str, judged: Sequence[Judged], *, is_whole: bool = True) -> list[str]:
    """`is_whole`: of a detector, and not of one statistic, which names no target and is not pooled."""
    lines = []
    for split in POISONED_SPLITS:
        working = [one for one in judged if one.split == split and works(one)]
        for bed, poisoned in of_beds(working):
            clean = [one for one in judged if one.split == CLEAN_FOR[split] and bed in (one.bed, "pooled")]
            if bed == "pooled" and not is_whole:
                continue
            if not clean:
                lines.append(cells(name, split, bed, 0, len(poisoned), *["not measured yet"] * 3, "", ""))
                continue
            scores = [one.score for one in clean], [one.score for one in poisoned]
            exact = delong(*scores)
            drawn = clustered_bootstrap(
                *scores, [one.seed for one in clean], [one.seed for one in poisoned], seed=1
            )
            named = (named_in(1, poisoned), named_in(5, poisoned)) if is_whole else ("", "")
            lines.append(
                cells(
                    name,
                    split,
                    bed,
                    len(clean),
                    len(poisoned),
                    f"{exact.value:.3f}",
                    bounds(exact),
                    bounds(drawn),
                    *named,
                )
            )
    return lines


def families(rows: Rows) -> str:
    """TPR a family."""
    lines = []
    for detector, judged in rows.judged.items():
        for split in POISONED_SPLITS:
            of_split = [one for one in judged if one.split == split]
            for family in sorted({one.family for one in of_split}):
                group = [
                    one for one in of_split if one.family == family and (works(one) or family == "low_asr")
                ]
                lines.append(_rates((detector, split, family), group))
    return table(("detector", "models", "family", "n", *_RATE_HEAD), lines)


_RATE_HEAD = ("p ≤ 5 % (95 % interval)", "p ≤ 10 %", "median p", "target first", "in five")


def _rates(what: Sequence[str], group: Sequence[Judged]) -> str:
    if not group:
        return cells(*what, 0, *[""] * len(_RATE_HEAD))
    return cells(
        *what,
        len(group),
        rate_at(0.05, group),
        rate_at(0.1, group),
        f"{median(one.p for one in group):.3f}",
        named_in(1, group),
        named_in(5, group),
    )


def by_asr(rows: Rows) -> str:
    """TPR by what share of images the backdoor leads to its target."""
    lines = []
    for detector, judged in rows.judged.items():
        for split in POISONED_SPLITS:
            for low, high, what in (
                (0, 0.5, "under 50 %"),
                (0.5, 0.9, "50 to 90 %"),
                (0.9, 1.01, "90 % and more"),
            ):
                group = [
                    one
                    for one in judged
                    if one.split == split and one.asr is not None and low <= one.asr < high
                ]
                if group:
                    lines.append(_rates((detector, split, what), group))
    return table(("detector", "models", "ASR", "n", *_RATE_HEAD), lines)


def null_sizes(rows: Rows) -> str:
    """TPR and FPR of the scan with random parts of the null."""
    looks = [row for row in rows.scans if row.detector in DEFAULT_DETECTORS]
    largest = max((len(_null(looks, bed)) for bed in rows.beds), default=0)
    lines = [
        cells(rows.ours, size, f"{1 / (size + 1):.3f}", *_rates_with(rows, looks, size))
        for size in NULL_SIZES
        if size <= largest
    ]
    head = ("detector", "null models", "smallest p", "TPR at 5 %", "TPR at 10 %", "FPR at 5 %", "FPR at 10 %")
    about = (
        f"Means of {_NUM_SUBSETS} draws from each bed's null: TPR of all poisoned models with an"
        f" ASR of 90 % and more, FPR of clean test models. The smallest size is {NULL_SIZES[0]}."
    )
    return about + "\n\n" + table(head, lines)


def _null(looks: Sequence[ScanRow], bed: str) -> list[str]:
    return sorted({row.name for row in looks if row.bed == bed and row.split == "calibration"})


def _rates_with(rows: Rows, looks: Sequence[ScanRow], size: int) -> list[str]:
    found: dict[tuple[str, float], list[float]] = {}
    for number in range(_NUM_SUBSETS):
        draws, drawn = generator(number, "zoo_null_subset"), set[str]()
        enough = [bed for bed in rows.beds if len(_null(looks, bed)) >= size]
        for bed in enough:
            drawn |= set(draws.choice(_null(looks, bed), size, replace=False).tolist())
        kept = [
            row
            for row in looks
            if row.bed in enough and (row.name in drawn or row.split in (*POISONED_SPLITS, "test_clean"))
        ]
        judged = judge_all(rows.models, kept, str(rows.ours))
        poisoned = [one.p for one in judged if one.split in POISONED_SPLITS and works(one)]
        clean = [one.p for one in judged if one.split == "test_clean"]
        for what, p_values in (("TPR", poisoned), ("FPR", clean)):
            for level in (0.05, 0.1) if p_values else ():
                found.setdefault((what, level), []).append(fmean(p <= level for p in p_values))
    rates = []
    for what in ("TPR", "FPR"):
        for level in (0.05, 0.1):
            if 1 / (size + 1) > level:
                rates.append("0, by arithmetic")
            else:
                values = found.get((what, level))
                rates.append(f"{100 * fmean(values):.0f} %" if values else "not measured yet")
    return rates


def attackers(rows: Rows) -> str:
    """What it costs whoever knows the scan, beside the same triggers without what hides them."""
    lines = []
    for detector, judged in rows.judged.items():
        for split, what in (("attackers", "{}"), ("plain", "{}, the same trigger not hidden")):
            of_split = [one for one in judged if one.split == split]
            for family in sorted({one.family for one in of_split}):
                for bed, group in of_beds([one for one in of_split if one.family == family]):
                    if bed == "pooled":
                        continue
                    models = [rows.models[one.name] for one in group]
                    lines.append(
                        cells(
                            detector,
                            what.format(family),
                            bed,
                            len(group),
                            value_range(one.ca.value for one in models),
                            value_range(asr.value for one in models for asr in one.asr),
                            *(rate_at(level, group) for level in (0.05, 0.1)),
                            f"{median(one.p for one in group):.3f}",
                            named_in(1, group),
                            named_in(5, group),
                        )
                    )
    head = ("detector", "attacker", "bed", "n", "CA %", "ASR %", *_RATE_HEAD)
    return table(head, sorted(lines))


def names_of(rows: Rows, detector: str) -> list[str]:
    """The statistics of one detector."""
    return sorted({name for row in rows.scans if row.detector == detector for name in statistics_of(row)})
