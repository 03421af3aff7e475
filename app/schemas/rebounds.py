"""A rebound on the wire: what follows from its points. The points are in the report."""

from typing import Any

from pydantic import Field

from app.schemas.common import WireOut
from cleanclip.vocabulary.exclusions import Digest
from cleanclip.vocabulary.measures import Count, Ratio
from cleanclip.vocabulary.rebound_figures import HighestASR, Rate, Updates


class ReboundCurveOut(WireOut):
    """One benign fine-tuning. `areas`: of each attack its mean ASR on the way."""

    rate: Rate
    seed: int
    areas: list[Ratio]
    diverged_at: Count | None = None


class RelearningOut(WireOut):
    """How fast one trigger is learned from a few poisoned samples. `updates_to_half`: to an ASR of 50 %."""

    trigger_sha256: Digest
    options: dict[str, Any]
    updates_to_half: Updates | None = None
    diverged_at: Count | None = None


class RelearnedOut(WireOut):
    """The old trigger against a fresh one of its kind; under a ratio of 1 the old one comes back faster."""

    attack: str
    old: RelearningOut
    fresh: RelearningOut | None
    ratio: float | None = None


class InterpolationOut(WireOut):
    """Of each attack the least share of the way back to the input model with an ASR of 50 % or more."""

    to_half: list[Ratio | None]


class ReboundOut(WireOut):
    """What came back when copies of the cleaned model were trained further."""

    num_samples: Count
    attacks: list[str]
    curves: list[ReboundCurveOut]
    highest: list[HighestASR]
    relearned: list[RelearnedOut] = Field(default_factory=list)
    interpolation: InterpolationOut | None = None
