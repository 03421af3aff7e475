"""From rows to judgements: scores, p-values against the null of a bed, whether the target was named.

Each bed has its own null: the calibration models of that bed. A model is judged as a customer's scan is, by
`sanitizer.scans.conformal`: by one detector, or by all of the scan together (`SCAN`). Free of torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lab.zoo.plan import BedName, Split, class_names
from lab.zoo.rows import ModelRow, ScanRow
from sanitizer.scans.conformal import Judged as InPool
from sanitizer.scans.conformal import Row, judge, rows, z_of_family

SCAN = "scan"
"""All detectors of the scan together, as a name beside those of the detectors."""
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
    seed: int
    asr: float | None
    """The largest of its targets'; None: nothing was implanted."""
    score: float
    p: float
    smallest_p: float
    """That its null allows: 1 / (n + 1)."""
    place: int | None
    """Of the target among the detector's suspects, from 1; None: not among the five, or there is none."""


def judge_all(
    models: Mapping[str, ModelRow], scans: Sequence[ScanRow], detector: str, *, only: str | None = None
) -> list[Judged]:
    """Every scanned model of every bed that has `FEWEST_NULL` models or more. `only`: one statistic of it,
    which names no target."""
    looks: dict[str, list[ScanRow]] = {}
    for row in scans:
        if row.name in models and (row.detector == detector or (detector == SCAN and row.measured)):
            looks.setdefault(row.name, []).append(row)
    most = max(map(len, looks.values()), default=0)
    values = {name: _values(found, only) for name, found in looks.items() if len(found) == most}
    judged = []
    for bed in sorted({models[name].bed for name in values}):
        null = [name for name in values if models[name].bed == bed and models[name].split == "calibration"]
        if len(null) < FEWEST_NULL:
            continue
        for name, suspect in values.items():
            if models[name].bed == bed:
                others = [values[other] for other in null if other != name]
                pool = judge(others, suspect)
                suspects = _suspects(looks[name], pool) if only is None else []
                judged.append(_judged(models[name], pool, suspects))
    return judged


def statistics_of(look: ScanRow) -> Row:
    """What the judgement takes of one look, each the larger the more suspicious."""
    if look.measured is None:
        return look.statistics
    (row,) = rows(look.measured, class_names(look.bed)).values()
    return row


def _values(looks: Sequence[ScanRow], only: str | None) -> dict[str, Row]:
    """Of each detector its statistics."""
    found = {look.detector: statistics_of(look) for look in looks}
    return found if only is None else {name: {only: row[only]} for name, row in found.items()}


def _judged(model: ModelRow, pool: InPool[str], suspects: Sequence[str]) -> Judged:
    places = [suspects.index(target) + 1 for target in model.targets if target in suspects]
    return Judged(
        name=model.name,
        bed=model.bed,
        split=model.split,
        family=model.family,
        seed=model.seed,
        asr=max((one.value for one in model.asr), default=None),
        score=pool.combined_M[-1],
        p=pool.p_value,
        smallest_p=1 / len(pool.combined_M),
        place=min(places, default=None),
    )


def _suspects(looks: Sequence[ScanRow], pool: InPool[str]) -> list[str]:
    """The first classes of a report's hypotheses: those of each detector's and family's most conspicuous
    pattern, by z. A published detector names them itself."""
    if looks[0].measured is None:
        return list(looks[0].targets)
    names = class_names(looks[0].bed)
    pooled = {one.detector: one for one in pool.detectors}
    found: list[tuple[float, str]] = []
    for look in looks:
        assert look.measured is not None
        for collapsed in look.measured.collapse:
            if collapsed.agreed_class is not None:
                z, _ = z_of_family(pooled, look.detector, collapsed.family.name, None)
                found.append((z, names[collapsed.agreed_class]))
        for eased in look.measured.ease:
            z_C = [z_of_family(pooled, look.detector, eased.family.name, name)[0] for name in names]
            found += [max(zip(z_C, names, strict=True))]
    in_order = dict.fromkeys(name for _, name in sorted(found, key=lambda one: -one[0]))
    return list(in_order)[:_IN_FIVE]
