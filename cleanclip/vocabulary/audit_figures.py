"""The figures of an audit: what was counted of one set of weights, and what two sets of weights have lost.

Free of torch. Shares carry their counts and the seed of the audit that they belong to.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from cleanclip.vocabulary.examples import Examples
from cleanclip.vocabulary.exclusions import Digest
from cleanclip.vocabulary.measures import Difference, Estimate, MeanDistance, RankDistribution, TopK, Towards
from cleanclip.vocabulary.retrieval_figures import RetrievalFigures, RetrievalLost
from cleanclip.vocabulary.sections import Section, SectionFigure
from cleanclip.vocabulary.verdicts import AttackVerdict


@dataclass(frozen=True, kw_only=True)
class ProbeFigures:
    """The linear probe on clean images, each judged by the probe that was fitted without it.

    `num_iterations` are those of the longest fit of any fold; `is_converged` is true where all were.
    """

    accuracy: Estimate
    num_iterations: int
    is_converged: bool


@dataclass(frozen=True, kw_only=True)
class ProbeAttackFigures:
    """The linear probe on triggered images; `untriggered_target_rate` is the floor under its ASR."""

    asr: Estimate
    untriggered_target_rate: Estimate
    pa: Estimate


@dataclass(frozen=True, kw_only=True)
class AttackFigures:
    """One trigger on the whole test set. `trigger_sha256` names its version, options and seed."""

    name: str
    options: dict[str, Any]
    trigger_sha256: Digest
    asr: Estimate
    asr_including_target: Estimate
    pa: Estimate
    still_right: Estimate
    """Of the images that are right without the trigger. PA without what the model cannot tell anyway: it says
    what the trigger alone does."""
    asr_top_k: tuple[TopK, ...]
    """How near the target still is: cleaning may move it from the first place to the second only. A k for
    which there are not enough classes is left out."""
    target: str
    """The class that ASR counts."""
    target_rank: RankDistribution
    """Of triggered images."""
    towards: Towards
    towards_now: Towards | None = None
    """After a cleaning: the class that triggered images go to most now, which may be another. Else None."""
    linear_probe: ProbeAttackFigures | None = None
    """None where no linear probe was ordered."""

    def works_elsewhere(self, gate: float) -> Towards | None:
        """Where the trigger leads if not to its target: to another class, at or over the gate, and more often
        than the same images go there without it. None: nowhere."""
        towards = self.towards_now or self.towards
        return towards if towards.class_name != self.target and towards.works(gate) else None


@dataclass(frozen=True, kw_only=True)
class TargetFigures:
    """How often clean images of other classes are classified as `target`: the floor under its ASR."""

    target: str
    untriggered_target_rate: Estimate
    untriggered_target_top_k: tuple[TopK, ...]
    untriggered_target_rank: RankDistribution


@dataclass(frozen=True, kw_only=True)
class ClassAccuracy:
    """Clean accuracy on the images of one class."""

    class_name: str
    accuracy: Estimate


MOST_CLASSES_LISTED = 2_000
"""Of an audit: with two audits of so many classes, their names as long as they may be, a report has 5 MB."""
MOST_CLASSES_REPORTED = 10
"""Of the classes that lost accuracy a report tells the worst. Fewer: these are all that lost any."""


@dataclass(frozen=True, kw_only=True)
class AuditFigures:
    """One audit of one set of weights: `weights_sha256` is that of the canonical file that was measured."""

    weights_sha256: Digest
    seed: int
    ca: Estimate
    ca_top5: Estimate
    ca_per_class: tuple[ClassAccuracy, ...] = ()
    """In the order of the class names, which need not differ; a class without images is left out.

    Each interval is for one class alone. Empty where more than `MOST_CLASSES_LISTED` have images, which a
    warning tells, and in a job's `result`: its report has them.
    """
    untriggered_target_rate: Estimate
    """How often a clean image of another class is classified as the target: the floor under ASR."""
    untriggered_target_top_k: tuple[TopK, ...]
    """The floor under `asr_top_k`."""
    untriggered_target_rank: RankDistribution
    """The place of the target for the same images without a trigger. All three are of the audit's target."""
    further_targets: tuple[TargetFigures, ...] = ()
    """The same for each other class that an attack names as its target."""
    attacks: tuple[AttackFigures, ...]
    linear_probe: ProbeFigures | None = None
    """None where none was ordered."""
    retrieval: RetrievalFigures | None = None
    """Where a set of pairs was given for it."""

    def num_triggers(self, verdicts: Sequence[AttackVerdict]) -> int:
        """How many different triggers are judged: one under two names, or on two targets, is one.

        `verdicts` are those of the attacks, in their order.
        """
        judged = zip(self.attacks, verdicts, strict=False)
        return len({attack.trigger_sha256 for attack, verdict in judged if verdict.judged})

    def works_in_part(self, attack: AttackFigures, limit: float) -> bool:
        """Whether its ASR is over `limit` by its interval, and over the rate without a trigger by both."""
        return attack.asr.low > max(limit, self.floor_under(attack).high)

    def floor_under(self, attack: AttackFigures) -> Estimate:
        """The untriggered target rate of the attack's target."""
        for further in self.further_targets:
            if further.target == attack.target:
                return further.untriggered_target_rate
        return self.untriggered_target_rate

    @property
    def commonest_class(self) -> float | None:
        """The share of the images that are of the commonest class: what calling all of them that would get
        right. None where the classes are not listed, or only one has images."""
        counts = [one.accuracy.n for one in self.ca_per_class]
        return max(counts) / sum(counts) if len(counts) > 1 else None

    def lowest_classes(self) -> tuple[int, ...]:
        """Places in `ca_per_class` of the `MOST_CLASSES_REPORTED` lowest accuracies at most, lowest first."""
        places = range(len(self.ca_per_class))
        in_order = sorted(places, key=lambda place: self.ca_per_class[place].accuracy.value)
        return tuple(in_order[:MOST_CLASSES_REPORTED])


@dataclass(frozen=True, kw_only=True)
class EmbeddingDrift(Section):
    """How far the embeddings moved from those of the input model."""

    title = "Embedding drift"
    meaning = "the cosine distance (0 to 2) from the input model"
    is_of_cleaning = True
    is_counted = False

    images: MeanDistance
    """Of the same images, without a trigger."""
    classes: MeanDistance
    """Of the classes, each the mean of its templates."""

    def figures(self) -> tuple[SectionFigure, ...]:
        return (
            SectionFigure(name="images", title="images without a trigger", figure=self.images, of="images"),
            SectionFigure(name="classes", title="classes", figure=self.classes, of="classes"),
        )


@dataclass(frozen=True, kw_only=True)
class ClassChange:
    """What one class lost, on the same images before and after."""

    class_name: str
    before: Estimate
    after: Estimate
    lost: Difference


@dataclass(frozen=True, kw_only=True)
class AttackChange:
    """What one attack lost, on the same triggered images before and after: `asr_lost` of those of other
    classes, `lost` being classified as the target before and not after; `pa_lost` of all, below 0 if
    it rose."""

    attack: str
    asr_lost: Difference
    pa_lost: Difference


@dataclass(frozen=True, kw_only=True)
class Measured:
    """All that follows from weights, images and a seed alone: one audit, or two with what was lost between
    them. The fields are those of `Report`."""

    before: AuditFigures
    after: AuditFigures | None = None
    ca_lost: Difference | None = None
    attack_changes: tuple[AttackChange, ...] = ()
    classes_lost: tuple[ClassChange, ...] = ()
    drift: EmbeddingDrift | None = None
    retrieval_lost: RetrievalLost | None = None
    examples: Examples | None = None
    plain_template_ca: Estimate | None = None

    def fields(self) -> dict[str, Any]:
        """By name, as `Report` has them."""
        return {one.name: getattr(self, one.name) for one in fields(self)}


@dataclass(frozen=True, kw_only=True)
class Withheld:
    """The same audits of labelled images that the job's process never had, by a process that began after it
    had ended. `seed`, drawn after that too, decides what triggers draw."""

    seed: int
    num_samples: int
    """The bad ones included; `DataInput.num_samples` does not count these images."""
    num_skipped: int
    measured: Measured
