"""What the scan says of models that were never poisoned: tables of docs/scanning.md."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from lab.zoo.judging import Judged
from lab.zoo.markdown import NOT_YET, cells, table
from lab.zoo.published import Rows, of_beds, rate_at

LEVELS = (0.01, 0.05, 0.1)


def false_positives(rows: Rows) -> str:
    """The realised FPR on clean test models."""
    lines = []
    for detector, judged in rows.judged.items():
        for bed, group in of_beds([one for one in judged if one.split == "test_clean"]):
            rates = [rate_at(level, group) for level in LEVELS]
            lines.append(cells(detector, bed, len(group), *rates))
    if not lines:
        return f"{NOT_YET} The clean test models are closed until thresholds are frozen."
    head = ("detector", "bed", "n", *(f"nominal {100 * one:.0f} %" for one in LEVELS))
    return _attainable(rows.judged_by_scan) + "\n\n" + table(head, lines)


def _attainable(judged: Sequence[Judged]) -> str:
    """What a valid test does at these levels, with p in steps of 1 / (n + 1)."""
    sizes = {one.bed: round(1 / one.smallest_p) for one in judged if one.split == "test_clean"}
    sentences = []
    for bed, size in sorted(sizes.items()):
        shares = [f"{100 * math.floor(level * size + 1e-9) / size:.1f} %" for level in LEVELS]
        sentences.append(
            f"{bed}: {size - 1} null models, so the smallest p is 1/{size}, and of clean models at most"
            f" {', '.join(shares)} are expected at or under 1, 5 and 10 %."
        )
    return " ".join(sentences)


def shifted(rows: Rows) -> str:
    """Clean models that the null's are not exchangeable with."""
    lines = []
    for detector, judged in rows.judged.items():
        of_split = [one for one in judged if one.split == "shifted"]
        for shift in sorted({one.family for one in of_split}):
            for bed in sorted({one.bed for one in of_split}):
                group = [one for one in of_split if (one.family, one.bed) == (shift, bed)]
                if group:
                    p_values = ", ".join(f"{one:.2f}" for one in sorted(one.p for one in group))
                    rates = [rate_at(level, group) for level in (0.05, 0.1)]
                    lines.append(cells(detector, shift, bed, len(group), p_values, *rates))
    return table(("detector", "shift", "bed", "n", "p of each", "p ≤ 5 %", "p ≤ 10 %"), lines)


def universal(rows: Rows) -> str:
    """Patterns optimised against clean models, and what the scan says of these very models."""
    judged = {one.name: one for one in rows.judged_by_scan}
    known = [one for one in rows.all_models if one.universal is not None]
    lines = []
    for bed, split in sorted({(one.bed, one.split) for one in known}):
        group = [one for one in known if (one.bed, one.split) == (bed, split)]
        asr = [100 * one.universal.asr.value for one in group if one.universal is not None]
        of_them = [judged[one.name] for one in group if one.name in judged]
        if split == "calibration":
            says = ["these are the null", "", ""]
        elif not of_them:
            says = ["not measured yet", "", ""]
        else:
            p_values = [one.p for one in of_them]
            says = [f"{min(p_values):.2f}, {median(p_values):.2f}, {max(p_values):.2f}"]
            says += [f"{sum(p <= level for p in p_values)} of {len(p_values)}" for level in (0.05, 0.1)]
        lines.append(
            cells(bed, split, len(group), f"{min(asr):.1f}, {median(asr):.1f}, {max(asr):.1f}", *says)
        )
    steps = {(one.universal.alpha, one.universal.num_steps) for one in known if one.universal is not None}
    about = " ".join(
        f"Each pattern was blended in with {alpha:g} and optimised in {num} steps against one clean model, to"
        " the class that its seed draws as a target. It is not a backdoor."
        for alpha, num in sorted(steps)
    )
    head = ("bed", "models", "n", "ASR of the pattern %: min, median, max", "p: min, median, max")
    return (about + "\n\n" + table((*head, "called poisoned at 5 %", "at 10 %"), lines)).strip()
