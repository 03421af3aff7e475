"""The tables of docs/scanning/tuned.md, from the rows of `python -m lab.zoo --tuned`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from lab.zoo.judging import DEFAULT_DETECTORS, SCAN, WORKS, Judged, judge_all
from lab.zoo.plan import BEDS
from lab.zoo.rows import read_models, read_scans
from lab.zoo.tables import clopper_pearson
from lab.zoo.tuned import OTHERS, kind_of
from tools.reference.markdown import Maker, table

_ROWS = Path(__file__).resolve().parents[2] / "docs" / "scanning"
LEVELS = (0.05, 0.1, 0.25, 0.5)
NULLS = {"fine-tunes of the base": True, "models trained from nothing": False}


class Fine(NamedTuple):
    """A judged fine-tune: what it is to the null, and by which null it was judged."""

    bed: str
    null: str
    group: str
    p: float
    smallest_p: float


@cache
def judged() -> tuple[Fine, ...]:
    """By the fine-tunes of kind "null", and by the zoo's own calibration models of the bed."""
    return tuple(_judged())


def _judged() -> Iterator[Fine]:
    models, scans = read_models(_ROWS / "tuned"), list(read_scans(_ROWS / "tuned").values())
    tuned = {name: row for name, row in models.items() if name.startswith("tuned-")}
    suspects = {name: row for name, row in tuned.items() if kind_of(name) != "null"}
    zoo = {name: row for name, row in read_models(_ROWS).items() if row.split == "calibration"}
    zoo_scans = [
        scan
        for (name, detector, weights), scan in read_scans(_ROWS).items()
        if name in zoo and zoo[name].weights_sha256 == weights and detector in DEFAULT_DETECTORS
    ]
    for null, is_own in NULLS.items():
        of_all = (tuned, scans) if is_own else (zoo | suspects, zoo_scans + scans)
        for one in judge_all(*of_all, SCAN):
            if one.name in suspects:
                yield Fine(one.bed, null, _group(one), one.p, one.smallest_p)


def _group(one: Judged) -> str:
    kind = kind_of(one.name)
    if kind == "other":
        return f"clean, {OTHERS[int(one.name.rpartition('-')[2]) % len(OTHERS)][0]}"
    if kind == "same":
        return "clean, same recipe"
    assert one.asr is not None
    return f"poisoned, ASR {'at least' if one.asr >= WORKS else 'under'} {100 * WORKS:g} %"


def p_values(_kept: object = None) -> str:
    """Of each group: how many p-values are at or under each level, with exact intervals."""
    lines = []
    for bed in BEDS:
        for null in NULLS:
            mine = [one for one in judged() if (one.bed, one.null) == (bed, null)]
            for group in dict.fromkeys(sorted(one.group for one in mine)):
                p = sorted(one.p for one in mine if one.group == group)
                shares = [_share(sum(one <= level for one in p), len(p)) for level in LEVELS]
                smallest = max(one.smallest_p for one in mine)
                each = ", ".join(f"{one:.2f}".removeprefix("0") for one in p)
                lines.append([bed, f"{null} ({round(1 / smallest) - 1})", group, *shares, each])
    levels = [f"p ≤ {level:g}" for level in LEVELS]
    return table(["bed", "null", "models judged", *levels, "each p"], lines)


def _share(hits: int, n: int) -> str:
    exact = clopper_pearson(hits, n)
    return f"{hits} of {n} [{100 * exact.low:.0f}, {100 * exact.high:.0f}]"


MAKERS: Mapping[str, Maker] = {"tuned: p": p_values}
