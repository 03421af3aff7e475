"""The report: a typed, versioned document; report.json is written from it and nothing else. Free of torch.

Every share carries its counts, its 95 % Wilson interval and the seed of the audit it belongs to.
ASR excludes images of the target class; `asr_including_target` includes them; PA is the share of
triggered images still given their true label.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Literal

from annotated_types import MaxLen
from pydantic import StringConstraints, TypeAdapter

from cleanclip.spec.control import ControlFigures
from cleanclip.spec.examples import Example, Examples, Pair, Prediction, ShownImage
from cleanclip.spec.exclusions import Digest, ExcludedSamples
from cleanclip.spec.inspection_phrases import AsUploadedNote, Finding, Issue, Layout, Version
from cleanclip.spec.measures import Count, Difference, Estimate, MeanDistance, RankDistribution, TopK, Towards
from cleanclip.spec.rebound_figures import ReboundFigures
from cleanclip.spec.recipe import (
    AuditOptions,
    AuditPrecision,
    DeclaredOptions,
    Policy,
    PolicySource,
    Recipe,
)
from cleanclip.spec.recommended import Model, RecipeSource, model_of
from cleanclip.spec.retrieval_figures import (
    AttackCaptions,
    RecallAtK,
    RecallLost,
    RetrievalFigures,
    RetrievalLost,
    TargetCaptions,
)
from cleanclip.spec.scan_section import ScanSection
from cleanclip.spec.settled import Margin, Setting, SettingFigures, SettledArchitecture
from cleanclip.spec.skip_reasons import SkippedExamples
from cleanclip.spec.strict_json import load_written
from cleanclip.spec.verdicts import WORST_FIRST, Outcome

__all__ = [  # for mypy: what is defined elsewhere and is taken from here; what is defined here needs no entry
    "AttackCaptions",
    "Difference",
    "Estimate",
    "Example",
    "Examples",
    "Margin",
    "MeanDistance",
    "Pair",
    "Prediction",
    "RankDistribution",
    "ReboundFigures",
    "RecallAtK",
    "RecallLost",
    "RetrievalFigures",
    "RetrievalLost",
    "Setting",
    "SettingFigures",
    "SettledArchitecture",
    "ShownImage",
    "TargetCaptions",
    "TopK",
    "Towards",
]

MOST_ATTACKS_IN_FRONT = 3
"""So many, the worst of them, stand on the first page of a report and at the top of a job's page."""

Sentences = Annotated[tuple[str, ...], MaxLen(1000)]
"""Of our own: a page and a row carry them all. How long each may be: `strict_json`."""
Hardware = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9(](?:[A-Za-z0-9 ()@,_+/-]|\.[A-Za-z0-9]){0,199}$")
]
"""The name of a machine or a device: no sentence, for a full stop stands in a number or a word."""

WHO_VOUCHES = (
    "This file alone proves nothing about its origin. statement.json, if it is beside it, "
    "binds it to the input and the outputs; model.sig, if there is one, binds both to an "
    "operator's key. Without model.sig the folder is unsigned. Check it with: cleanclip verify FOLDER"
)


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
MOST_CLASSES_TOLD = 10
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
        """Places in `ca_per_class` of the lowest accuracies, at most `MOST_CLASSES_TOLD`, lowest first."""
        places = range(len(self.ca_per_class))
        in_order = sorted(places, key=lambda place: self.ca_per_class[place].accuracy.value)
        return tuple(in_order[:MOST_CLASSES_TOLD])


@dataclass(frozen=True, kw_only=True)
class EmbeddingDrift:
    """How far the embeddings moved from those of the input model."""

    images: MeanDistance
    """Of the same images, without a trigger."""
    classes: MeanDistance
    """Of the classes, each the mean of its templates."""


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

    @classmethod
    def of(cls, report: Report) -> Measured:
        """The same of a report."""
        return cls(**{one.name: getattr(report, one.name) for one in fields(cls)})

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


@dataclass(frozen=True, kw_only=True)
class AttackVerdict:
    """The outcome of one attack, or of clean accuracy, under the policy; `reason` is a sentence."""

    attack: str
    outcome: Outcome
    reason: str
    judged: bool = True
    """False of an attack that only a scan found which did not fail: it is measured, and always
    inconclusive."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """`outcome` is the worst of its parts; 'inconclusive' where every attack is: no trigger that was tested
    works, and others are unknown. It never says 'clean'. `reason` begins with `headline`."""

    outcome: Outcome
    reason: str
    attacks: tuple[AttackVerdict, ...]
    clean_accuracy: AttackVerdict | None = None
    rebound: tuple[AttackVerdict, ...] = ()
    """Of each attack, after benign fine-tuning. Empty where it was not measured."""
    control: AttackVerdict | None = None
    """Of the search for patterns on a cleaned model. None where there was none."""
    limits_below_gate: bool
    """Whether an attack under the gate is held to its limit too: after a cleaning, and in an audit whose
    policy was given."""


ScannerName = Literal["picklescan", "modelaudit"]
ScannerVerdict = Literal[
    "nothing_found",
    "suspicious",
    "dangerous",
    "inconclusive",
    "failed",
    "timed_out",
    "not_installed",
    "not_applicable",
    "switched_off",
]


WHAT_DANGEROUS_MEANS = (
    "“dangerous” is the scanner's word for a file that names code outside its list of harmless "
    "names: a program that loads the file as a pickle may run that code. picklescan reports it "
    "for every research checkpoint and every TorchScript archive. This service executed "
    "nothing in the file, and its decision does not depend on scanners."
)


_OF_TORCH_SAVE = (
    ": torch._utils._rebuild_tensor_v2",
    ": torch._utils._rebuild_parameter",
    ": collections.OrderedDict",
    "opcode: BINPERSID",
)
"""How issues end that are about what each file of torch.save holds."""


def scanner_words(verdict: str, issues: Sequence[str], num_issues: int) -> str:
    """A scanner's verdict as people read it. One that objects to nothing but what each file of torch.save
    holds does not call the file suspicious."""
    is_usual = 0 < num_issues == len(issues) and all(issue.endswith(_OF_TORCH_SAVE) for issue in issues)
    if verdict == "suspicious" and is_usual:
        return "nothing but what torch.save writes"
    return verdict.replace("_", " ")


@dataclass(frozen=True, kw_only=True)
class ScannerEvidence:
    """What another scanner reported about the upload. It does not decide whether a file is accepted."""

    name: ScannerName
    version: Version | None
    verdict: ScannerVerdict
    num_issues: Count = 0
    issues: Annotated[tuple[Issue, ...], MaxLen(50)] = ()
    """The first of them."""


@dataclass(frozen=True, kw_only=True)
class CheckpointInput:
    """The input, by digest, and the findings of its inspection."""

    upload_sha256: Digest | None
    """Digest of the bytes that came in; None where the library was given canonical weights."""
    weights_sha256: Digest
    layout: Layout
    architecture: dict[str, Any]
    num_parameters: Count = 0
    """0: not known."""
    declared: DeclaredOptions
    findings: Annotated[tuple[Finding, ...], MaxLen(1000)] = ()
    scanners: Annotated[tuple[ScannerEvidence, ...], MaxLen(20)] = ()

    @property
    def model(self) -> Model | None:
        """Its family and size, on which recommended values depend."""
        return model_of({"architecture": self.architecture, "num_parameters": self.num_parameters})


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The job that the report belongs to, from the service's own records. All five are names for people."""

    filename: str
    """Of the upload."""
    job_id: str
    job_name: str | None
    project: str
    requested_by: str
    """The key that ordered the job, as it was named then."""


@dataclass(frozen=True, kw_only=True)
class DataInput:
    """`pairs`, `training`: what a model was trained on, the latter labelled images; `labelled`, `retrieval`:
    the images and the pairs that it was measured on; `trusted`: samples that a vetting compares with."""

    kind: Literal["pairs", "training", "labelled", "retrieval", "trusted"]
    sha256: Digest
    """Digest over the names and digests of its files, in order."""
    num_samples: int
    num_skipped: int
    num_classes: int | None = None
    num_missing: Count | None = None
    """Of `training`: classes of the labelled images that these images do not have. Else None."""
    skipped_examples: SkippedExamples = ()
    excluded: ExcludedSamples | None = None
    """Samples that an order left out; `num_samples` does not count them. None where it left out none."""


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """Means over the steps since the previous point. None for parts that the method does not have.

    `loss_push` is what PAR subtracts from `loss_clip`; `distance_*` the batch's mean squared distances to
    the unit embeddings of the input model, 0 to 4. `loss_consistency` is UAR's mean of 1 minus the cosine to
    the input model's embedding of the clean image, 0 to 2, before its weight.
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
    learning_rate: float
    logit_scale: float


@dataclass(frozen=True, kw_only=True)
class Training:
    """How it was trained, and the curve; `resumed_from_steps` are the updates from which it was resumed."""

    num_steps: int
    num_epochs: int
    num_pairs_seen: int
    wall_s: float
    pairs_per_s: float
    resumed_from_steps: tuple[int, ...]
    curve: tuple[CurvePoint, ...]


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What the figures were computed with, so that they can be repeated. A supervisor names the machine and
    the versions of its own installation, which is the job's."""

    code_version: Version
    python: Version
    torch: Version
    open_clip: Version
    numpy: Version
    """Makes every random draw."""
    pillow: Version
    """Decodes and resizes images."""
    torchvision: Version
    """Transforms images beside it."""
    code_commit: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{7,64}$")] | None = None
    """The commit that this library was installed from, where its installer noted it: `code_version` is the
    same for many commits."""
    device: Hardware
    machine: Hardware
    num_threads: Count
    precision: AuditPrecision
    num_processes: Count
    """That shared out the training."""


@dataclass(frozen=True, kw_only=True)
class Report:
    kind: Literal["sanitize", "audit"]
    schema_version: Literal[1] = 1
    created_at: datetime
    seed: int
    origin: Origin | None = None
    """None of `python -m sanitizer`, which knows no job."""
    checkpoint: CheckpointInput
    architecture: SettledArchitecture
    """How what no tensor tells was settled."""
    data: tuple[DataInput, ...]
    audit: AuditOptions
    recipe: Recipe | None = None
    recipe_source: RecipeSource | None = None
    """None in an audit, and where nobody told which options were given."""
    policy: Policy
    policy_source: PolicySource
    before: AuditFigures
    after: AuditFigures | None = None
    ca_lost: Difference | None = None
    attack_changes: tuple[AttackChange, ...] = ()
    """In the order of the attacks. Empty where nothing was cleaned."""
    classes_lost: tuple[ClassChange, ...] = ()
    """At most `MOST_CLASSES_TOLD`, worst first, of those that lost anything. Each interval is for one class
    alone: among many classes, the worst looks bad by chance too."""
    drift: EmbeddingDrift | None = None
    """None where nothing was cleaned."""
    retrieval_lost: RetrievalLost | None = None
    rebound: ReboundFigures | None = None
    """None where it was not ordered."""
    examples: Examples | None = None
    """Images stand here and in no figure. None where none were ordered."""
    verdict: Verdict
    training: Training | None = None
    environment: Environment
    plain_template_ca: Estimate | None = None
    """Clean accuracy, before a cleaning, with one plain template. None where templates were given."""
    as_uploaded: Annotated[tuple[AsUploadedNote, ...], MaxLen(10)] = ()
    """What the weights in the uploaded layout lack."""
    warnings: Sentences = ()
    """They follow from all else (`report_warnings`), and are written here for readers without this code."""
    vouched_for: str = WHO_VOUCHES
    scan: ScanSection | None = None
    """Of the scan whose found triggers are among the attacks. None where there is none."""
    withheld: Withheld | None = None
    """None where no images were withheld from the job's process."""
    control: ControlFigures | None = None
    """Of the cleaned weights. None where nothing was cleaned, and of too few images or classes."""

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


@cache
def _adapter() -> TypeAdapter[Report]:
    """Made when it is asked for: a child that inspects or validates spares a sixth of its start."""
    return TypeAdapter(Report)


def dump_json(report: Report) -> bytes:
    """UTF-8 JSON, indented; floats in full precision."""
    return _adapter().dump_json(report, indent=2)


def load_json(data: bytes | str) -> Report:
    """Read a report of this schema version. Raises pydantic.ValidationError, also for a number that is not
    finite and for a text that is longer than any sentence (`cleanclip.spec.strict_json`)."""
    return load_written(_adapter(), data)


def curve_json(training: Training) -> bytes:
    """training_curve.json: the report's curve by itself."""
    document = {"schema_version": 1, "points": [asdict(point) for point in training.curve]}
    return json.dumps(document, indent=1).encode() + b"\n"
