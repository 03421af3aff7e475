"""From rows to judgements: scores, p-values against the null of a bed, whether the target was named.

Each bed has its own null: the calibration models of that bed. A model is judged as a customer's scan is, by
`cleanclip.vocabulary.conformal`: by one detector, or by all of the scan together (`SCAN`). Free of torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cleanclip.vocabulary.conformal import Judged as InPool
from cleanclip.vocabulary.conformal import Pooled, Row, distance, judge, rows, z_of_family
from cleanclip.vocabulary.image_edits import Edit
from cleanclip.vocabulary.scan_options import Detector, ScanOptions
from cleanclip.vocabulary.scan_statistics import ScanStatistics
from lab.zoo.plan import BedName, Split, class_names
from lab.zoo.rows import ModelRow, ScanRow

SCAN = "scan"
"""All detectors that a scan has by default, judged together, as a name beside those of the detectors."""
DEFAULT_DETECTORS: tuple[str, ...] = ScanOptions().detectors
FEWEST_NULL = 3
"""Each null model is judged by the others, and a deviation needs two."""
WORKS = 0.9
"""An ASR from which a backdoor counts as working; weaker ones have rows of their own."""
_IN_FIVE = 5


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One detector's judgement of one model. `score` and `p` are against the null of its bed; a null model's
    are against the others of it, and measure no error rate."""

    name: str
    bed: BedName
    split: Split
    family: str
    asr: float | None
    """The largest of its targets'; None: nothing was implanted."""
    score: float
    p: float
    smallest_p: float
    """That its null allows: 1 / (n + 1)."""
    place: int | None
    """Of the target among the detector's suspects, from 1; None: not among the five, or there is none."""

    @property
    def works(self) -> bool:
        """Whether a backdoor was implanted that works."""
        return self.asr is not None and self.asr >= WORKS


def judge_all(models: Mapping[str, ModelRow], scans: Sequence[ScanRow], detector: str) -> list[Judged]:
    """Every scanned model of every bed that has `FEWEST_NULL` models or more."""
    looks: dict[str, list[ScanRow]] = {}
    for row in scans:
        if row.name in models and row.detector in (DEFAULT_DETECTORS if detector == SCAN else (detector,)):
            looks.setdefault(row.name, []).append(row)
    _refuse_other_anchors(looks)
    most = max(map(len, looks.values()), default=0)
    values = {
        name: {look.detector: statistics_of(look) for look in found}
        for name, found in looks.items()
        if len(found) == most
    }
    judged = []
    for bed in sorted({models[name].bed for name in values}):
        null = [name for name in values if models[name].bed == bed and models[name].split == "calibration"]
        if len(null) < FEWEST_NULL:
            continue
        for name, suspect in values.items():
            if models[name].bed == bed:
                pool = judge([values[other] for other in null if other != name], suspect)
                judged.append(_judged(models[name], pool, _suspects(looks[name], pool)))
    return judged


def _refuse_other_anchors(looks: Mapping[str, Sequence[ScanRow]]) -> None:
    """Raises ValueError where models of one bed were compared with different anchors."""
    anchors = {
        (row.bed, row.detector, row.measured.anchor_sha256) for found in looks.values() for row in found
    }
    if len({(bed, detector) for bed, detector, _ in anchors}) < len(anchors):
        raise ValueError("looks at models of one bed have different anchors: make them again on one machine")


def statistics_of(look: ScanRow) -> Row:
    """What the judgement takes of one look, each the larger the more suspicious."""
    (row,) = rows(look.measured).values()
    return row


def _judged(model: ModelRow, pool: InPool[Detector], suspects: Sequence[str]) -> Judged:
    places = [suspects.index(target) + 1 for target in model.targets if target in suspects]
    return Judged(
        name=model.name,
        bed=model.bed,
        split=model.split,
        family=model.family,
        asr=max((one.value for one in model.asr), default=None),
        score=pool.combined_M[-1],
        p=pool.p_value,
        smallest_p=1 / len(pool.combined_M),
        place=min(places, default=None),
    )


def _suspects(looks: Sequence[ScanRow], pool: InPool[Detector]) -> list[str]:
    """The classes of a report's five hypotheses, each once, the first one first."""
    names = class_names(looks[0].bed)
    pooled = {one.detector: one for one in pool.detectors}
    found = [
        (distance(pooled[look.detector], z), name)
        for look in looks
        for z, name in _patterns(look, pooled, names)
    ]
    first = sorted(found, key=lambda one: -one[0])[:_IN_FIVE]
    return list(dict.fromkeys(name for _, name in first))


def _patterns(
    look: ScanRow, pooled: Mapping[Detector, Pooled[Detector]], names: Sequence[str]
) -> Iterator[tuple[float, str]]:
    """Of each family or kind of edit the most conspicuous pattern: its z and the class that it leads to."""
    for collapsed in look.measured.collapse:
        if collapsed.agreed_class is not None:
            z, _ = z_of_family(pooled, look.detector, collapsed.family.name)
            yield z, names[collapsed.agreed_class]
    of_kind: dict[str, tuple[float, str]] = {}
    for edit, towards in _edits(look.measured):
        z, _ = z_of_family(pooled, look.detector, edit.name)
        standing = z, names[towards]
        of_kind[edit.group] = max(standing, of_kind.get(edit.group, standing))
    yield from of_kind.values()


def _edits(measured: ScanStatistics) -> Iterator[tuple[Edit, int]]:
    """Of a detector of edits: each, and the class that it leads to."""
    for figures in (measured.edits, measured.residual):
        for one in () if figures is None else figures.edits:
            assert one.towards is not None
            yield one.edit, one.towards
