"""The tables of docs/scanning/tuned.md and public.md, from their raw rows.

The study of fine-tunes left the lab (docs/decisions/0094); the zoo's judgement, by which it goes, is there.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

from cleanclip.vocabulary.conformal import Row, judge, rows
from cleanclip.vocabulary.scan_options import Detector, ScanOptions
from cleanclip.vocabulary.scan_statistics import ScanStatistics
from lab.zoo.judging import DEFAULT_DETECTORS, SCAN, WORKS, judge_all
from lab.zoo.plan import BEDS
from lab.zoo.rows import ScanRow, read_models, read_scans
from lab.zoo.tables import clopper_pearson
from tools.reference.markdown import Maker, table

_ROWS = Path(__file__).resolve().parents[2] / "docs" / "scanning"
OTHERS = ("a tenth of the rate", "three times the epochs", "with CleanCLIP's second term")
"""Recipes of the kind "other", in turn; the other kinds are "null", "same" and "poisoned"."""
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
    suspects = {name: row for name, row in tuned.items() if _kind_of(name) != "null"}
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
                yield Fine(one.bed, null, _group(one.name, one.asr), one.p, one.smallest_p)


def _kind_of(name: str) -> str:
    return name.split("-")[1]


def _group(name: str, asr: float | None) -> str:
    kind = _kind_of(name)
    if kind == "other":
        return f"clean, {OTHERS[int(name.rpartition('-')[2]) % len(OTHERS)]}"
    if kind == "same":
        return "clean, same recipe"
    assert asr is not None
    return f"poisoned, ASR {'at least' if asr >= WORKS else 'under'} {100 * WORKS:g} %"


def _on_images() -> Iterator[Fine]:
    """The models that were scanned on both kinds of images, by the fine-tunes of kind "null" among them."""
    own, public = (list(read_scans(_ROWS / where).values()) for where in ("tuned", "tuned/public"))
    models = {name: row for name, row in read_models(_ROWS / "tuned/public").items() if name in _ends(public)}
    names = models.keys() & _ends(own)
    for label, scans, with_classes in (
        ("own images", own, True),
        ("public images", public, True),
        ("public images, no class names", public, False),
    ):
        of_model: dict[str, dict[Detector, Row]] = {name: {} for name in sorted(names)}
        for scan in scans:
            if scan.name in names and (with_classes or scan.detector == "collapse"):
                of_model[scan.name] |= rows(
                    scan.measured if with_classes else _without_classes(scan.measured)
                )
        null = [name for name in of_model if _kind_of(name) == "null"]
        for name, suspect in of_model.items():
            if name not in null:
                pool = judge([of_model[one] for one in null], suspect)
                asr = max((one.value for one in models[name].asr), default=None)
                yield Fine(models[name].bed, label, _group(name, asr), pool.p_value, 1 / (len(null) + 1))


def _ends(scans: Sequence[ScanRow]) -> set[str]:
    """Names of the models that every detector of a scan has seen."""
    seen = {(scan.name, scan.detector) for scan in scans}
    return {scan.name for scan in scans if all((scan.name, one) in seen for one in ScanOptions().detectors)}


def _without_classes(measured: ScanStatistics) -> ScanStatistics:
    """As a scan without class names measures them."""
    bare = [replace(one, agreement=None, agreed_class=None) for one in measured.collapse]
    return replace(measured, collapse=tuple(bare))


def p_values(_kept: object = None) -> str:
    """By the null of fine-tunes and by the zoo's."""
    return _table(judged(), tuple(NULLS), "null")


def p_on_images(_kept: object = None) -> str:
    """By the null of fine-tunes, on three kinds of images and classes."""
    found = tuple(_on_images())
    return _table(found, tuple(dict.fromkeys(one.null for one in found)), "scanned on")


def _table(found: Sequence[Fine], nulls: Sequence[str], heading: str) -> str:
    """Of each group: how many p-values are at or under each level, with exact intervals."""
    lines = []
    for bed in BEDS:
        for null in nulls:
            mine = [one for one in found if (one.bed, one.null) == (bed, null)]
            for group in dict.fromkeys(sorted(one.group for one in mine)):
                p = sorted(one.p for one in mine if one.group == group)
                shares = [_share(sum(one <= level for one in p), len(p)) for level in LEVELS]
                smallest = max(one.smallest_p for one in mine)
                each = ", ".join(f"{one:.2f}".removeprefix("0") for one in p)
                lines.append([bed, f"{null} ({round(1 / smallest) - 1})", group, *shares, each])
    levels = [f"p ≤ {level:g}" for level in LEVELS]
    return table(["bed", heading, "models judged", *levels, "each p"], lines)


def _share(hits: int, n: int) -> str:
    exact = clopper_pearson(hits, n)
    return f"{hits} of {n} [{100 * exact.low:.0f}, {100 * exact.high:.0f}]"


MAKERS: Mapping[str, Maker] = {"tuned: p": p_values, "tuned: public": p_on_images}
