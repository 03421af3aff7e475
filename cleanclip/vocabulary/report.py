"""The report: a typed, versioned document; report.json is written from it and nothing else. Free of torch.

Every share carries its counts, its 95 % Wilson interval and the seed of the audit it belongs to.
ASR excludes images of the target class; `asr_including_target` includes them; PA is the share of
triggered images still given their true label.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from functools import cache
from typing import Annotated, Literal

from annotated_types import Gt, MaxLen
from pydantic import TypeAdapter

from cleanclip.vocabulary import cautions, report_inputs
from cleanclip.vocabulary.audit_figures import (
    MOST_CLASSES_LISTED,
    AttackChange,
    AuditFigures,
    ClassChange,
    EmbeddingDrift,
    Measured,
    ProbeFigures,
    Withheld,
)
from cleanclip.vocabulary.cautions import TrainedClasses
from cleanclip.vocabulary.control import Search
from cleanclip.vocabulary.examples import Examples
from cleanclip.vocabulary.inspection_phrases import AsUploadedNote
from cleanclip.vocabulary.judging import hopeless, judge
from cleanclip.vocabulary.measures import AS_WRITTEN, Difference, Estimate, derived
from cleanclip.vocabulary.policy import Policy, PolicySource
from cleanclip.vocabulary.rebound_figures import ReboundFigures
from cleanclip.vocabulary.recipe import AuditOptions, PARRecipe, Recipe
from cleanclip.vocabulary.recommended import RecipeSource
from cleanclip.vocabulary.remarks import remarks
from cleanclip.vocabulary.retrieval_figures import RetrievalLost
from cleanclip.vocabulary.scan_section import ScanSection
from cleanclip.vocabulary.settled import SettledArchitecture
from cleanclip.vocabulary.settled import warnings as of_settings
from cleanclip.vocabulary.strict_json import load_written
from cleanclip.vocabulary.templates import PLAIN_TEMPLATE
from cleanclip.vocabulary.verdicts import WORST_FIRST, Verdict, headline

MOST_ATTACKS_IN_FRONT = 3
"""So many, the worst of them, stand on the first page of a report and at the top of a job's page."""


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """Means over the steps since the previous point. None for parts that the method does not have.

    `loss_push` is what PAR subtracts from `loss_clip`; `distance_*` the batch's mean squared distances to
    the unit embeddings of the input model, 0 to 4. `loss_consistency` is UAR's mean of 1 minus the cosine to
    the input model's embedding of the clean image, 0 to 2, before its weight; `loss_text_*` are the same of
    the text tower, on captions with `trigger_words` inserted.
    """

    step: int
    epoch: float
    loss: float
    loss_clip: float | None = None
    loss_self_supervised: float | None = None
    loss_push: float | None = None
    distance_image: float | None = None
    distance_text: float | None = None
    loss_consistency: float | None = None
    loss_text_clip: float | None = None
    loss_text_consistency: float | None = None
    learning_rate: float
    logit_scale: float


PARTS_OF_LOSS = {
    "loss": "whole",
    "loss_clip": "CLIP",
    "loss_self_supervised": "self-supervised",
    "loss_push": "push",
    "distance_image": "image distance",
    "distance_text": "caption distance",
    "loss_consistency": "consistency",
    "loss_text_clip": "CLIP of captions with words",
    "loss_text_consistency": "consistency of captions with words",
}
"""Of a `CurvePoint`: what plots call each."""


def thinned(curve: Sequence[CurvePoint], most: int) -> Sequence[CurvePoint]:
    """Evenly, to about `most` points; the last one stays."""
    kept = curve[:: max(1, math.ceil(len(curve) / most))]
    return kept if not curve or kept[-1] is curve[-1] else (*kept, curve[-1])


@AS_WRITTEN
@dataclass(frozen=True, kw_only=True)
class Training:
    """How it was trained, and the curve, which ends at the last step; `resumed_from_steps` are the updates
    from which it was resumed."""

    num_pairs_seen: int
    wall_s: Annotated[float, Gt(0)]
    resumed_from_steps: tuple[int, ...]
    curve: tuple[CurvePoint, ...]

    @derived
    def num_steps(self) -> int:
        return self.curve[-1].step if self.curve else 0

    @derived
    def pairs_per_s(self) -> float:
        return self.num_pairs_seen / self.wall_s

    def warnings(self, recipe: Recipe | None) -> Iterator[str]:
        """How it went, by `recipe`."""
        if not isinstance(recipe, PARRecipe):
            return
        for side, name in (("image", "distance_image"), ("caption", "distance_text")):
            farthest = max((getattr(point, name) or 0.0 for point in self.curve), default=0.0)
            if farthest <= recipe.threshold:
                yield (
                    f"The {side} embeddings moved to a distance of {farthest:.2f} from the input "
                    f"model, and never over the threshold of {recipe.threshold:g}: the push went on until "
                    "the last update. Raise initial_learning_rate or push_share, or lower the threshold."
                )


@AS_WRITTEN
@dataclass(frozen=True, kw_only=True)
class Report:
    kind: Literal["sanitize", "audit"]
    schema_version: Literal[1] = 1
    created_at: datetime
    seed: int
    origin: report_inputs.Origin | None = None
    """None of `python -m sanitizer`, which has no job."""
    checkpoint: report_inputs.CheckpointInput
    architecture: SettledArchitecture
    """How what no tensor tells was settled."""
    data: tuple[report_inputs.DataInput, ...]
    audit: AuditOptions
    recipe: Recipe | None = None
    recipe_source: RecipeSource | None = None
    """None in an audit, and where nobody recorded which options were given."""
    policy: Policy
    policy_source: PolicySource
    before: AuditFigures
    after: AuditFigures | None = None
    ca_lost: Difference | None = None
    attack_changes: tuple[AttackChange, ...] = ()
    """In the order of the attacks. Empty where nothing was cleaned."""
    classes_lost: tuple[ClassChange, ...] = ()
    """At most `MOST_CLASSES_REPORTED`, worst first, of those that lost anything. Each interval is for one
    class alone: among many classes, the worst looks bad by chance too."""
    drift: EmbeddingDrift | None = None
    """None where nothing was cleaned."""
    retrieval_lost: RetrievalLost | None = None
    rebound: ReboundFigures | None = None
    """None where it was not ordered."""
    examples: Examples | None = None
    """Images stand here and in no figure. None where none were ordered."""
    training: Training | None = None
    environment: report_inputs.Environment
    plain_template_ca: Estimate | None = None
    """Clean accuracy, before a cleaning, with one plain template. None where templates were given."""
    as_uploaded: Annotated[tuple[AsUploadedNote, ...], MaxLen(10)] = ()
    """What the weights in the uploaded layout lack."""
    scan: ScanSection | None = None
    """Of the scan whose found triggers are among the attacks. None where there is none."""
    withheld: Withheld | None = None
    """None where no images were withheld from the job's process."""
    control: Search | None = None
    """Of the cleaned weights. None where nothing was cleaned, and from a process that leaves it to the
    second audit."""

    @property
    def is_cleaning(self) -> bool:
        """Whether the model was cleaned, or measured only."""
        return self.kind == "sanitize"

    @property
    def headline(self) -> str:
        """The verdict, and of how many triggers."""
        num_triggers = self.before.num_triggers(self.verdict.attacks)
        return headline(self.verdict.outcome, is_cleaned=self.is_cleaning, num_triggers=num_triggers)

    @derived
    def verdict(self) -> Verdict:
        """Raises as `judge` does, where the figures are of different things."""
        return judge(
            before=self.before,
            after=self.after,
            ca_lost=self.ca_lost,
            gate=self.audit.gate,
            policy=self.policy,
            limits_below_gate=self.after is not None or self.policy_source.given != "default",
            rebound=self.rebound,
            scan=self.scan,
            withheld=self.withheld,
            control=self.control,
        )

    @derived
    def warnings(self) -> report_inputs.Sentences:
        """In the order in which a job comes to know them. Raises ArithmeticError, LookupError, ValueError or
        OptionsRejected where figures do not fit."""
        audits = [self.before] if self.after is None else [self.before, self.after]
        return (
            *cautions.before_audit(self.audit, self.policy, is_cleaned=self.is_cleaning),
            *self._before_training(),
            *of_settings(self.architecture),
            *self._hopeless(),
            *(() if self.training is None else self.training.warnings(self.recipe)),
            *self.as_uploaded,
            *self._plain_template(),
            *_of_probes([one.linear_probe for one in audits]),
            *(one.excluded_words for one in self.data if one.excluded is not None),
            *(sentence for one in self.data for sentence in one.skipped_words),
            *self._not_listed(),
            *(() if (retrieval := audits[-1].retrieval) is None else retrieval.warnings),
            *(() if self.rebound is None else self.rebound.warnings),
        )

    def _before_training(self) -> Sequence[str]:
        """Of the recipe that the model was trained with."""
        model, recipe, source = self.checkpoint.model, self.recipe, self.recipe_source
        data = next((one for one in self.data if one.kind in ("pairs", "training")), None)
        if recipe is None or data is None or model is None:
            return ()
        trained = None
        if data.num_classes is not None and data.num_missing is not None:
            trained = TrainedClasses(num=data.num_classes, num_missing=data.num_missing)
        return cautions.before_training(
            recipe,
            num_samples=data.num_samples,
            num_classes=max(self._classes_labelled[:1], default=0),
            trained=trained,
            family=model[0],
            size=model[1],
            given=None if source is None else source.given,
        )

    def _hopeless(self) -> Sequence[str]:
        """That nothing could pass, by limits that nobody gave: others were refused."""
        if self.after is None or self.policy_source.given != "default":
            return ()
        refusals = hopeless(self.before, gate=self.audit.gate, policy=self.policy, scan=self.scan)
        return [refusal.message for refusal in refusals]

    def _plain_template(self) -> Iterator[str]:
        """That nobody gave templates, and what one plain template gives."""
        plain = self.plain_template_ca
        if plain is not None:
            yield (
                "Neither the order nor the labelled set gives templates, so ImageNet's 80 were used: clean "
                f"accuracy is {_interval(self.before.ca)}. With '{PLAIN_TEMPLATE}' alone it is "
                f"{_interval(plain)} on the same {plain.n:,} images. Give the templates that fit your images "
                "as audit.templates."
            )

    def _not_listed(self) -> Iterator[str]:
        """That accuracy of single classes was left out."""
        if max(self._classes_labelled, default=0) > MOST_CLASSES_LISTED and not self.before.ca_per_class:
            yield (
                f"The labelled set has images of more than {MOST_CLASSES_LISTED} classes: their accuracy is "
                "not listed one by one."
            )

    @property
    def _classes_labelled(self) -> list[int]:
        """How many classes each labelled set has."""
        return [one.num_classes or 0 for one in self.data if one.kind == "labelled"]

    @derived
    def vouched_for(self) -> str:
        """What proves the origin of the file."""
        return report_inputs.WHO_VOUCHES

    @property
    def remarks(self) -> list[str]:
        """On figures that the verdict does not judge."""
        ratios = () if self.rebound is None else self.rebound.ratios
        return remarks(self.before, self.after, self.verdict, ratios)

    @property
    def measured(self) -> Measured:
        """What follows from weights, images and a seed alone."""
        return Measured(**{one.name: getattr(self, one.name) for one in fields(Measured)})

    def worst_attacks(self, most: int) -> tuple[int, ...]:
        """Numbers of at most so many attacks, in their order: by outcome, then by ASR as it is now."""

        def badness(number: int) -> tuple[int, float]:
            asr = (self.after or self.before).attacks[number].asr
            return WORST_FIRST.index(self.verdict.attacks[number].outcome), -asr.value

        numbers = range(len(self.before.attacks))
        return tuple(sorted(sorted(numbers, key=badness)[:most]))

    def change_of(self, number: int) -> AttackChange | None:
        """Of the attack with this number, if the report has it."""
        return self.attack_changes[number] if number < len(self.attack_changes) else None


def _interval(share: Estimate) -> str:
    low, high = 100 * share.low, 100 * share.high
    return f"{100 * share.value:.1f} % (95 % interval {low:.1f} to {high:.1f} %)"


def _of_probes(probes: Sequence[ProbeFigures | None]) -> Iterator[str]:
    if any(probe is not None and not probe.is_converged for probe in probes):
        yield "The linear probe did not converge: its figures may still change. Raise its max_iterations."


@cache
def _adapter() -> TypeAdapter[Report]:
    """Made when it is asked for: a child that inspects or validates spares a sixth of its start."""
    return TypeAdapter(Report)


def dump_json(report: Report) -> bytes:
    """UTF-8 JSON, indented; floats in full precision."""
    return _adapter().dump_json(report, indent=2)


def load_json(data: bytes | str) -> Report:
    """Read a report of this schema version. Raises pydantic.ValidationError, also for a number that is not
    finite and for a text that is longer than any sentence (`cleanclip.vocabulary.strict_json`)."""
    return load_written(_adapter(), data)


def curve_json(training: Training) -> bytes:
    """training_curve.json: the report's curve by itself."""
    document = {"schema_version": 1, "points": [asdict(point) for point in training.curve]}
    return json.dumps(document, indent=1).encode() + b"\n"
