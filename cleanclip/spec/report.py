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

from cleanclip.spec.audit_figures import (
    AttackChange,
    AuditFigures,
    ClassChange,
    EmbeddingDrift,
    Measured,
    Withheld,
)
from cleanclip.spec.control import Search
from cleanclip.spec.examples import Examples
from cleanclip.spec.exclusions import Digest, ExcludedSamples
from cleanclip.spec.inspection_phrases import AsUploadedNote, Finding, Issue, Layout, Version
from cleanclip.spec.judging import judge
from cleanclip.spec.measures import AS_WRITTEN, Count, Difference, Estimate, derived
from cleanclip.spec.rebound_figures import ReboundFigures
from cleanclip.spec.recipe import AuditOptions, AuditPrecision, DeclaredOptions, Policy, PolicySource, Recipe
from cleanclip.spec.recommended import Model, RecipeSource, model_of
from cleanclip.spec.retrieval_figures import RetrievalLost
from cleanclip.spec.scan_section import ScanSection
from cleanclip.spec.settled import SettledArchitecture
from cleanclip.spec.skip_reasons import SkippedExamples
from cleanclip.spec.strict_json import load_written
from cleanclip.spec.verdicts import WORST_FIRST, Verdict

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


@AS_WRITTEN
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
    control: Search | None = None
    """Of the cleaned weights. None where nothing was cleaned, and from a process that leaves it to the
    second audit."""

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
