"""The rows of one state of the zoo, admitted by the gate and judged once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from lab.zoo.freezing import Gate
from lab.zoo.intervals import clopper_pearson
from lab.zoo.judging import DEFAULT_DETECTORS, SCAN, WORKS, Judged, judge_all
from lab.zoo.markdown import percent
from lab.zoo.rows import read_models, read_scans

POISONED_SPLITS = ("development", "held_out", "second_held_out")


class Rows:
    """A look counts for the weights that the model's row names."""

    def __init__(self, folder: Path, gate: Gate) -> None:
        """With as many null models as were frozen, if any were. Raises HeldOut."""
        self.folder = folder
        self.all_models = gate.admit(read_models(folder).values())
        self.models = {row.name: row for row in gate.null_of(self.all_models)}
        self.scans = gate.admit(
            row
            for row in read_scans(folder).values()
            if row.name in self.models and row.weights_sha256 == self.models[row.name].weights_sha256
        )
        named = sorted({row.detector for row in self.scans})
        ours = [one for one in named if one in DEFAULT_DETECTORS]
        self.detectors = [SCAN, *named] if len(ours) > 1 else named
        """The scan as a whole first, where it has several detectors."""
        self.ours = (SCAN if len(ours) > 1 else ours[0]) if ours else None
        """What a customer's scan judges by; None: nothing of it was run."""
        self.beds = sorted({row.bed for row in self.scans})

    @cached_property
    def judged(self) -> dict[str, list[Judged]]:
        """By detector."""
        return {detector: judge_all(self.models, self.scans, detector) for detector in self.detectors}

    @property
    def judged_by_scan(self) -> list[Judged]:
        """By what a customer's scan judges by."""
        return self.judged[self.ours] if self.ours is not None else []


def works(one: Judged) -> bool:
    """Whether a backdoor was implanted that works."""
    return one.asr is not None and one.asr >= WORKS


def rate_at(level: float, group: Sequence[Judged]) -> str:
    """The share with p at or under the level."""
    if all(one.smallest_p > level for one in group):
        return "null too small"
    return percent(clopper_pearson(sum(one.p <= level for one in group), len(group)))


def named_in(most: int, group: Sequence[Judged]) -> str:
    """The share whose target is among the first so many suspects."""
    return percent(
        clopper_pearson(sum(one.place is not None and one.place <= most for one in group), len(group))
    )


def of_beds(group: Sequence[Judged]) -> list[tuple[str, list[Judged]]]:
    """By bed, and where there are several, all together first."""
    beds = sorted({one.bed for one in group})
    found: list[tuple[str, list[Judged]]] = [(bed, [one for one in group if one.bed == bed]) for bed in beds]
    return [("pooled", list(group)), *found] if len(beds) > 1 else found
