"""The report of `vet`: a typed, versioned document; report.json is written from it. Free of torch."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Literal

from annotated_types import Interval, Len, MaxLen, MinLen
from pydantic import TypeAdapter

from cleanclip.vocabulary import report_inputs
from cleanclip.vocabulary.attack_options import without_image
from cleanclip.vocabulary.examples import PlainImage
from cleanclip.vocabulary.exclusions import Digest, Key
from cleanclip.vocabulary.measures import AS_WRITTEN, Count, Estimate, Ratio, derived
from cleanclip.vocabulary.recipe import to_json
from cleanclip.vocabulary.strict_json import load_written
from cleanclip.vocabulary.verdicts import vet_headline
from cleanclip.vocabulary.vet_options import MOST_SHOWN, ScoreName, VetOptions
from cleanclip.vocabulary.vet_plan import NO_ANCHOR, NO_TRUSTED, plan

VET_SCORES_NAME = "vet_scores.jsonl.gz"
MAX_SCORES_BYTES = 2**30
EXCLUDED_NAME = "excluded.json"
LEVELS = (0.001, 0.01, 0.05)
MAX_CAPTION = 1000
"""Characters of a caption in a report; longer ones are cut."""
Basis = Literal["p_values", "ranks"]
DecidedBy = Literal["suspect", "anchor", "both"]
"""The model whose embeddings decide a score, `both` where two are compared."""

Finite = Annotated[float, Interval(ge=-1e38, le=1e38)]

WHAT_IT_SAYS = (
    "Scores sort samples by how unusual they are under the suspect model and the anchor. A sample that "
    "was set "
    "aside need not be poisoned, and a poisoned one may have been left in. This is not a proof that the "
    "rest is "
    "clean."
)

DOES_NOT_SHOW = (
    "That the samples which are set aside are poisoned, or that the others are not: a score says how unusual "
    "a sample is."
)
_DECIDED_BY: Mapping[ScoreName, DecidedBy] = {
    "mismatch": "anchor",
    "disagreement": "both",
    "residual": "both",
    "trigger_direction": "both",
}
"""Whose embeddings decide a score where there is an anchor; of all others, and without one, the suspect's."""


MOST = 0.95
"""A larger p counts as this when several are combined: see `sanitizer.vetting.conformal`."""


def combined_of(shares: Sequence[float]) -> float:
    """One p-value of several, or one share of several ranks: Cauchy's combination."""
    mean = sum(math.tan((0.5 - min(p, MOST)) * math.pi) for p in shares) / len(shares)
    return 0.5 - math.atan(mean) / math.pi


def reason_of(share: float, basis: Basis, names: Iterable[ScoreName]) -> str:
    """Why the samples of a list are to be left out."""
    by = "p-values against trusted samples" if basis == "p_values" else "ranks"
    return f"vet set aside the worst {100 * share:g} % by {by} of {', '.join(names)}"


@dataclass(frozen=True, kw_only=True)
class Quantiles:
    """Of one score over `n` samples. A higher score is worse."""

    n: Count
    low: Finite
    median: Finite
    q95: Finite
    q99: Finite
    high: Finite

    def __post_init__(self) -> None:
        if not self.low <= self.median <= self.q95 <= self.q99 <= self.high:
            raise ValueError("has quantiles out of order")


@dataclass(frozen=True, kw_only=True)
class ScoreSummary:
    """One score."""

    name: ScoreName
    vetted: Quantiles
    trusted: Quantiles | None = None
    """Of the trusted samples that calibrate. None where there are none."""
    num_decisive: Count
    """Of the samples set aside, those for which this score was the worst of all."""


@dataclass(frozen=True, kw_only=True)
class NotComputed:
    """A score that was left out, and why."""

    name: ScoreName
    reason: str


@dataclass(frozen=True, kw_only=True)
class LevelCount:
    """How many samples have a combined p-value of at most `level`. `expected`: of a set like the trusted
    one."""

    level: Ratio
    num: Count
    expected: Annotated[float, Interval(ge=0, le=2**53)]


@dataclass(frozen=True, kw_only=True)
class MeasuredRecall:
    """Poisons that were made from trusted samples: the share of them that would have been set aside.

    It holds for this kind of poison in this set under this model, and for no other.
    """

    poison: Literal["shuffled_captions"]
    recall: Estimate

    @property
    def sentence(self) -> str:
        """For people: how much would be in the list, and of which poison."""
        recall = self.recall
        return (
            f"Of {recall.n} trusted images that were given the caption of another image, {recall.successes} "
            f"would have been set aside: {100 * recall.value:.1f} % (95 % interval {100 * recall.low:.1f} to "
            f"{100 * recall.high:.1f} %). This holds for wrong captions without a trigger in this dataset, "
            "and for no other poison."
        )


@dataclass(frozen=True, kw_only=True)
class SetAside:
    """The worst samples; `of` counts the good ones of the set."""

    num: Count
    of: Count


@dataclass(frozen=True, kw_only=True)
class SampleScore:
    """One score of one sample. `p` is its p-value against the trusted samples or, without any, its rank as a
    share of all: 1/n is the worst."""

    name: ScoreName
    value: Finite
    p: Ratio


@AS_WRITTEN
@dataclass(frozen=True, kw_only=True)
class WorstSample:
    """One sample to look at. `image` is what the model sees of it, made small."""

    index: Count
    key: Key
    caption: Annotated[str, MaxLen(MAX_CAPTION)]
    """Of a labelled image: the name of its class."""
    scores: Annotated[tuple[SampleScore, ...], MinLen(1)]
    image: PlainImage

    @derived
    def combined(self) -> Ratio:
        """One p-value of all its scores."""
        return combined_of([one.p for one in self.scores])


@AS_WRITTEN
@dataclass(frozen=True, kw_only=True)
class VetReport:
    kind: Literal["vet"] = "vet"
    schema_version: Literal[1] = 1
    created_at: datetime
    seed: int
    origin: report_inputs.Origin | None = None
    checkpoint: report_inputs.CheckpointInput
    anchor: report_inputs.CheckpointInput | None = None
    data: Annotated[tuple[report_inputs.DataInput, ...], Len(1, 2)]
    """The set that was vetted; then the trusted one, where there is one, of which the drawn samples count."""
    options: VetOptions
    scores: tuple[ScoreSummary, ...]
    num_at_levels: tuple[Count, ...] = ()
    """How many samples have a combined p-value of at most each of `LEVELS`. Empty where they were sorted by
    ranks."""
    list_sha256: Digest
    """Of excluded.json, which names all samples that were set aside."""
    measured: tuple[MeasuredRecall, ...] = ()
    """Empty where there are no trusted samples: how much of a poison is in the list is then not known."""
    worst: Annotated[tuple[WorstSample, ...], MaxLen(MOST_SHOWN)] = ()
    scores_sha256: Digest
    """Of vet_scores.jsonl.gz."""
    environment: report_inputs.Environment

    @derived
    def basis(self) -> Basis:
        """Whether samples were sorted by p-values against trusted samples, or by ranks among themselves."""
        return "p_values" if self.num_calibration else "ranks"

    @derived
    def decided_by(self) -> dict[ScoreName, DecidedBy]:
        """Of each score."""
        named = {} if self.anchor is None else _DECIDED_BY
        return {one.name: named.get(one.name, "suspect") for one in self.scores}

    @derived
    def num_fit(self) -> Count:
        """Trusted samples that residuals were fitted on: half of the good ones."""
        return 0 if self.trusted is None else self.trusted.num_good // 2

    @derived
    def num_calibration(self) -> Count:
        """Trusted samples that p-values are counted from: none is below 1 / (num_calibration + 1)."""
        return 0 if self.trusted is None else self.trusted.num_good - self.num_fit

    @derived
    def not_computed(self) -> tuple[NotComputed, ...]:
        """Raises OptionsRejected where the options ask for scores that cannot be made."""
        left_out = plan(self.options, has_anchor=self.anchor is not None).left_out
        return tuple(NotComputed(name=name, reason=reason) for name, reason in left_out)

    @derived
    def levels(self) -> tuple[LevelCount, ...]:
        """How many samples are under each level. Empty where samples were sorted by ranks."""
        return tuple(
            LevelCount(level=level, num=num, expected=level * self.set_aside.of)
            for level, num in zip(LEVELS, self.num_at_levels, strict=False)
        )

    @property
    def recalls(self) -> tuple[str, ...]:
        """What is known of how much of a poison is among the samples that are set aside, in sentences."""
        return tuple(one.sentence for one in self.measured) or (
            "How much of a poison is among them was not measured: that needs trusted samples and a score "
            "that reads captions.",
        )

    @property
    def headline(self) -> str:
        """How many samples are set aside."""
        return vet_headline(self.set_aside.num, self.set_aside.of)

    @property
    def shown_options(self) -> dict[str, Any]:
        """Without images and directions, which are long."""
        options = to_json(self.options)
        options["triggers"] = [without_image(one) for one in options["triggers"]]
        return options | {"directions": f"{len(self.options.directions)} vectors"}

    @derived
    def set_aside(self) -> SetAside:
        """The share that the options ask for, and one sample at least."""
        num_good = self.vetted.num_good
        return SetAside(num=max(1, int(self.options.share * num_good)), of=num_good)

    @derived
    def what_it_says(self) -> str:
        """What a score is, and what it does not show."""
        return WHAT_IT_SAYS

    @property
    def limits(self) -> tuple[str, ...]:
        """What it does not show, whatever it found."""
        return (DOES_NOT_SHOW,)

    @derived
    def vouched_for(self) -> str:
        """What proves the origin of the file."""
        return report_inputs.WHO_VOUCHES

    @property
    def reason(self) -> str:
        """Why samples are to be left out, as the list says it."""
        return reason_of(self.options.share, self.basis, (one.name for one in self.scores))

    @derived
    def warnings(self) -> report_inputs.Sentences:
        """What a reader must know of how the scores were made."""
        return tuple(self._warnings())

    def _warnings(self) -> Iterator[str]:
        yield from self.vetted.skipped_words
        if self.trusted is None:
            yield NO_TRUSTED
        if self.anchor is None:
            yield NO_ANCHOR
        if "local_density" in (one.name for one in self.scores):
            neighbours = self.options.neighbours
            batch = min(self.options.batch_size, self.set_aside.of + self.num_calibration)
            yield (
                f"local_density finds poisons while fewer than {neighbours} are in a batch of {batch:,}: up "
                f"to about {100 * neighbours / batch:.1f} % of the set."
            )

    @property
    def vetted(self) -> report_inputs.DataInput:
        """The set that was vetted."""
        return self.data[0]

    @property
    def trusted(self) -> report_inputs.DataInput | None:
        """The trusted set."""
        return self.data[1] if len(self.data) > 1 else None

    def __post_init__(self) -> None:
        num_good = self.vetted.num_good
        if num_good < 1 or (self.trusted is not None and self.num_calibration < 1):
            raise ValueError("counts no good sample")
        if sum(one.num_decisive for one in self.scores) != self.set_aside.num:
            raise ValueError("the decisive scores do not add up to the samples set aside")
        if any(one.vetted.n != num_good for one in self.scores):
            raise ValueError("a score is not of all good samples")
        if len(self.worst) != min(self.options.num_shown, self.set_aside.num):
            raise ValueError("more or fewer samples are shown than were set aside or ordered")
        counts = [*self.num_at_levels, num_good]
        if len(self.num_at_levels) != (len(LEVELS) if self.trusted else 0) or counts != sorted(counts):
            raise ValueError("counts more samples at a lower level, or more than there are")


@cache
def _adapter() -> TypeAdapter[VetReport]:
    return TypeAdapter(VetReport)


def dump_vet_report(report: VetReport) -> bytes:
    """UTF-8 JSON, indented; floats in full precision."""
    return _adapter().dump_json(report, indent=2)


def load_vet_report(data: bytes | str) -> VetReport:
    """Raises pydantic.ValidationError, also for a number or a text beyond `vocabulary.strict_json`'s
    bounds."""
    return load_written(_adapter(), data)
