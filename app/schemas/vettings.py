"""Vettings on the wire: what one found. The whole is in its report.json."""

from pydantic import Field

from app.schemas.common import WireOut
from cleanclip.vocabulary.measures import Count
from cleanclip.vocabulary.vet_options import ScoreName
from cleanclip.vocabulary.vet_report import Basis, DecidedBy, Finite, LevelCount, MeasuredRecall, NotComputed


class SetAsideOut(WireOut):
    """Samples that look worst, of the good samples of the dataset. They are listed in excluded.json."""

    num: Count
    of: Count


class VetScoreOut(WireOut):
    """One score over all good samples. Higher is worse. `num_decisive`: samples set aside because of it."""

    name: ScoreName
    num_decisive: Count
    median: Finite
    q99: Finite
    high: Finite


class VetResultOut(WireOut):
    """What a vetting found. No sample is in it: they are in the report."""

    set_aside: SetAsideOut
    basis: Basis = Field(description="`p_values` against trusted samples, or `ranks` among the samples.")
    reason: str = Field(description="What the list says of why its samples are to be left out.")
    scores: list[VetScoreOut]
    decided_by: dict[ScoreName, DecidedBy] = Field(description="Whose embeddings decide each score.")
    not_computed: list[NotComputed]
    levels: list[LevelCount] = Field(description="Empty where samples were sorted by ranks.")
    measured: list[MeasuredRecall] = Field(
        description="How much of our own poison is in the list. Empty without trusted samples: not known."
    )
    num_calibration: Count = Field(description="Trusted samples that p-values are counted from.")
    what_it_says: str
