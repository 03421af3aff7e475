"""The report of a scan: a typed, versioned document, from which report.json is written. Free of torch.

    report.verdict.sentence, report.p_value, report.hypotheses[0].target, report.hypotheses[0].attack

A scan never says "clean". Its outcomes are those of `verdicts`: "fail" where the null supports it, else
"controlled" where one pattern controls the model, else "inconclusive". Class names and words are untrusted:
code that shows them escapes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Annotated, Literal

from annotated_types import Interval, MaxLen
from pydantic import TypeAdapter

from cleanclip.vocabulary import conformal, report_inputs
from cleanclip.vocabulary.attack_options import AttackOptions
from cleanclip.vocabulary.control import Strongest, strongest
from cleanclip.vocabulary.examples import PlainImage
from cleanclip.vocabulary.found_triggers import FoundAttack, FoundTrigger, describe
from cleanclip.vocabulary.measures import AS_WRITTEN, Count, Estimate, Ratio, derived
from cleanclip.vocabulary.null_set import NullUsed
from cleanclip.vocabulary.scan_options import Detector, ScanOptions
from cleanclip.vocabulary.scan_statistics import Finite, NullFigures, ScanStatistics
from cleanclip.vocabulary.scan_verdicts import ScanVerdict, verdict
from cleanclip.vocabulary.scan_warnings import Conditions, scan_warnings
from cleanclip.vocabulary.strict_json import load_written
from cleanclip.vocabulary.verdicts import scan_headline

WHO_MEASURED = (
    "Figures and images of patterns were made by the process that read the model; where results are signed a "
    "second, fresh one made the scan again. An audit of the triggers measures them once more."
)
MOST_HYPOTHESES = 5
MOST_NAMES = 5
"""Of classes and of words that a hypothesis lists."""


@dataclass(frozen=True, kw_only=True)
class NamedClass:
    """A class of the list, and the share of held-out images that the trigger sends there."""

    class_name: str
    share: Estimate


@dataclass(frozen=True, kw_only=True)
class NamedWord:
    """A word of the open vocabulary: how far the trigger moves embeddings towards it, hubs cancelled."""

    word: str
    score: Finite


@dataclass(frozen=True, kw_only=True)
class DosePoint:
    """The trigger at a part of its strength: of a patch its side, of all others their budget."""

    share: Ratio
    asr: Estimate


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """One trigger that the scan found. All shares are of held-out images, which it was not inverted on.

    ASR, `untriggered_target_rate` and the dose are of images of other classes than the target; PA of all.
    With an attack the figures are of that attack, image rounded to a file; else of the pattern.
    """

    detector: Detector
    trigger: FoundTrigger
    target: str | None
    """The class it leads to. None without class names."""
    classes: Annotated[tuple[NamedClass, ...], MaxLen(MOST_NAMES)] = ()
    words: Annotated[tuple[NamedWord, ...], MaxLen(MOST_NAMES)] = ()
    asr: Estimate | None = None
    pa: Estimate | None = None
    untriggered_target_rate: Estimate | None = None
    dose: Annotated[tuple[DosePoint, ...], MaxLen(20)] = ()
    statistic: Finite
    """What its detector measured of it: of `collapse` the agreement, 0 to 1; of `edits` the rise; of
    `residual` a logarithm."""
    null_median: Finite | None = None
    """Of the same statistic and family over the null's models."""
    null_figures: NullFigures | None = None
    """ASR, PA and dose of clean models, with a null: medians over its models of each one's own most
    conspicuous pattern of this detector and family."""
    cell: ImageCell | None = None
    """Of `residual`, where the edit is answered in images of one kind. None: in all."""

    @property
    def attack(self) -> FoundAttack | None:
        """What an audit makes of it, where one can."""
        return self.trigger.attack(self.target)

    @property
    def gain(self) -> float:
        """How far its ASR, in its cell where it has one, is over the rate without it: by this it is placed
        without a null."""
        if self.asr is None or self.untriggered_target_rate is None:
            return self.statistic
        asr = self.asr if self.cell is None else self.cell.asr
        return asr.value - self.untriggered_target_rate.value

    @property
    def called(self) -> str:
        """Its class, else the words that are nearest; "" where neither is known."""
        return self.target or ", ".join(named.word for named in self.words[:3])

    @property
    def leads(self) -> str:
        """What it does, in one sentence without a name of a customer's."""
        what = describe(self.trigger.family)
        if self.asr is None:
            return f"The most conspicuous pattern is {what}."
        asr, kind = (self.asr, "") if self.cell is None else (self.cell.asr, " of one kind")
        return (
            f"The most conspicuous pattern, {what}, leads {100 * asr.value:.1f} % of {asr.n} "
            f"held-out images{kind} to one class."
        )

    @property
    def dose_words(self) -> str:
        """ "25 %: 3.1 % (clean models 1.0 %), 50 %: …"."""
        clean = {} if self.null_figures is None else {one.share: one.asr for one in self.null_figures.dose}
        return ", ".join(
            f"{100 * one.share:.0f} %: {100 * one.asr.value:.1f} %"
            + (f" (clean models {100 * clean[one.share]:.1f} %)" if one.share in clean else "")
            for one in self.dose
        )


@dataclass(frozen=True, kw_only=True)
class ImageCell:
    """Held-out images that are alike to the anchor."""

    number: Count
    asr: Estimate
    """Of its images of other classes than the target, with the edit."""
    examples: Annotated[tuple[PlainImage, ...], MaxLen(4)] = ()


@AS_WRITTEN
@dataclass(frozen=True, kw_only=True)
class DetectorJudgement:
    """How far one detector sets this model apart.

    With a null, among its models and this one: `z` is by the mean and the standard deviation of all others,
    the largest over families or edits, and `others` are the same figures of the null's models. Without one,
    among the classes or edits of this model, and `others` is empty.
    """

    detector: Detector
    what: str
    """Which family or edit."""
    z: Finite
    of: Count
    among: Literal["models", "classes", "edits"]
    others: Annotated[tuple[Finite, ...], MaxLen(10_000)] = ()

    @derived
    def rank(self) -> Count:
        """1 is the most conspicuous; others with the same score stand before this model."""
        return 1 + sum(one >= self.z for one in self.others)

    @property
    def standing(self) -> str:
        """Where this model stands among the null's, in words: what a plot of `others` shows."""
        ahead = self.rank - 1
        return (
            f"{ahead} of the {len(self.others)} models of the null {'is' if ahead == 1 else 'are'} at least "
            "as conspicuous as this model"
        )


@dataclass(frozen=True, kw_only=True)
class ScanExample:
    """One held-out image without and with the first hypothesis's trigger, and what the model says of both."""

    index: Count
    """In the labelled set, from 0."""
    true_class: str
    clean: PlainImage
    clean_class: str | None
    triggered: PlainImage
    triggered_class: str | None


@AS_WRITTEN
@dataclass(frozen=True, kw_only=True)
class ScanReport:
    kind: Literal["scan"] = "scan"
    schema_version: Literal[1] = 1
    created_at: datetime
    seed: int
    origin: report_inputs.Origin | None = None
    checkpoint: report_inputs.CheckpointInput
    data: tuple[report_inputs.DataInput, ...]
    options: ScanOptions
    num_classes: Count
    num_inverted_on: Count
    num_held_out: Count
    ca: Estimate | None = None
    """Clean accuracy on the held-out images of labelled classes."""
    statistics: ScanStatistics
    control: Annotated[tuple[Strongest, ...], MaxLen(32)] = ()
    """One entry for each family of `collapse`, in its order. Empty without class names."""
    judgements: tuple[DetectorJudgement, ...]
    """In the order of the options."""
    null: NullUsed | None = None
    """None: not calibrated for this architecture."""
    hypotheses: Annotated[tuple[Hypothesis, ...], MaxLen(MOST_HYPOTHESES)]
    """First the one that the verdict is about, then the most conspicuous."""
    examples: Annotated[tuple[ScanExample, ...], MaxLen(12)] = ()
    environment: report_inputs.Environment
    conditions: Conditions
    anchor: report_inputs.CheckpointInput | None = None

    @derived
    def p_value(self) -> Annotated[float, Interval(gt=0, le=1)] | None:
        """None without a null."""
        if self.null is None:
            return None
        return conformal.combined([(*one.others, one.z) for one in self.judgements])[1]

    @derived
    def verdict(self) -> ScanVerdict:
        leads = self.hypotheses[0].leads if self.hypotheses else ""
        return verdict(self.p_value, self.null, self.control, leads, self.options.significance)

    @derived
    def warnings(self) -> report_inputs.Sentences:
        return tuple(
            scan_warnings(
                self.conditions,
                self.options,
                num_images=self.num_inverted_on + self.num_held_out,
                num_skipped=sum(one.num_skipped for one in self.data),
                has_anchor=self.anchor is not None,
                null=self.null,
                code_version=self.environment.code_version,
            )
        )

    @derived
    def vouched_for(self) -> str:
        """What proves the origin of the file."""
        return report_inputs.WHO_VOUCHES

    @property
    def headline(self) -> str:
        """What it comes to."""
        return scan_headline(self.verdict.outcome, has_null=self.null is not None)

    @property
    def number(self) -> str:
        """The one number of the scan: with a null its p-value, else how many images the strongest pattern
        leads to one class. A `z` is of one detector, and those of two detectors cannot be compared."""
        if self.p_value is not None:
            return f"p = {self.p_value:.3g}"
        one = strongest(self.control)
        return "no p-value" if one is None else f"{100 * one.led.value:.1f} % to one class"

    @property
    def number_words(self) -> str:
        """What that number means."""
        if self.null is None:
            by = "By the strongest pattern that was found. " if self.control else ""
            return f"{by}No null was used, so there is no p-value: nothing says how rare such a model is."
        return (
            f"Of {self.null.num_models} models that were never poisoned and this one, this share looks at "
            "least as conspicuous."
        )

    def attacks(self) -> tuple[AttackOptions, ...]:
        """The found triggers that an audit can use, in their order, each with its target."""
        return tuple(filter(None, (one.attack for one in self.hypotheses)))


@cache
def _adapter() -> TypeAdapter[ScanReport]:
    return TypeAdapter(ScanReport)


def dump_scan(report: ScanReport) -> bytes:
    """UTF-8 JSON, indented; floats in full precision."""
    return _adapter().dump_json(report, indent=1)


def load_scan(data: bytes | str) -> ScanReport:
    """Raises pydantic.ValidationError, also for what `strict_json` refuses."""
    return load_written(_adapter(), data)
