"""report.json as far as it is checked here: figures with their counts, verdict, training. Strict in types.

The service's own description of it is in GET /v1/openapi.json (`Report`). Fields that this does not know are
left alone; a report of another schema version is refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cleanclip.evidence.reading import Malformed, first_problem

Count = Annotated[int, Field(ge=0, le=2**53)]
Place = Annotated[int, Field(ge=1, le=2**31)]
PartOutcome = Literal["pass", "fail", "undecided", "not_implanted"]
Outcome = Literal["pass", "fail", "undecided", "inconclusive"]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)


class Estimate(_Part):
    value: float
    n: Count
    successes: Count
    low: float
    high: float
    confidence: float
    method: Literal["wilson"]


class Difference(_Part):
    value: float
    n: Count
    lost: Count
    gained: Count
    low: float
    high: float
    confidence: float
    method: Literal["newcombe_paired"]


class TopK(_Part):
    k: Annotated[int, Field(ge=2, le=2**31)]
    share: Estimate


class RankDistribution(_Part):
    n: Count
    median: Place
    low: Place
    high: Place
    first_quartile: Place
    third_quartile: Place
    confidence: float
    method: Literal["order_statistics"]


class ProbeFigures(_Part):
    accuracy: Estimate
    num_iterations: Count
    is_converged: bool


class ProbeAttackFigures(_Part):
    asr: Estimate
    untriggered_target_rate: Estimate
    pa: Estimate


class Towards(_Part):
    class_name: str
    triggered: Estimate
    untriggered: Estimate


class AttackFigures(_Part):
    name: str
    options: dict[str, Any]
    trigger_sha256: str
    asr: Estimate
    asr_including_target: Estimate
    pa: Estimate
    asr_top_k: Annotated[list[TopK], Field(max_length=100)] = []
    target: str | None = None
    target_rank: RankDistribution | None = None
    towards: Towards | None = None
    towards_now: Towards | None = None
    linear_probe: ProbeAttackFigures | None = None


class TargetFigures(_Part):
    target: str | None
    untriggered_target_rate: Estimate
    untriggered_target_top_k: Annotated[list[TopK], Field(max_length=100)] = []
    untriggered_target_rank: RankDistribution | None = None


class RecallAtK(_Part):
    k: Annotated[int, Field(ge=1, le=2**31)]
    share: Estimate


class TargetCaptions(_Part):
    target: str
    k: Count
    num_naming: Count
    num_images: Count
    untriggered: Estimate | None


class AttackCaptions(_Part):
    attack: str
    target: str
    triggered: Estimate | None


class RetrievalFigures(_Part):
    num_pairs: Count
    num_images: Count
    num_captions: Count
    image_to_text: Annotated[list[RecallAtK], Field(max_length=100)]
    text_to_image: Annotated[list[RecallAtK], Field(max_length=100)]
    targets: Annotated[list[TargetCaptions], Field(max_length=1000)]
    attacks: Annotated[list[AttackCaptions], Field(max_length=1000)]


class RecallLost(_Part):
    k: Count
    lost: Difference


class RetrievalLost(_Part):
    image_to_text: Annotated[list[RecallLost], Field(max_length=100)]
    text_to_image: Annotated[list[RecallLost], Field(max_length=100)]


class ClassAccuracy(_Part):
    class_name: str
    accuracy: Estimate


class AuditFigures(_Part):
    weights_sha256: str
    seed: int
    ca: Estimate
    ca_top5: Estimate
    ca_per_class: Annotated[list[ClassAccuracy], Field(max_length=100_000)] = []
    untriggered_target_rate: Estimate
    untriggered_target_top_k: Annotated[list[TopK], Field(max_length=100)] = []
    untriggered_target_rank: RankDistribution | None = None
    further_targets: Annotated[list[TargetFigures], Field(max_length=1000)] = []
    attacks: Annotated[list[AttackFigures], Field(max_length=1000)]
    linear_probe: ProbeFigures | None = None
    retrieval: RetrievalFigures | None = None


class MeanDistance(_Part):
    mean: float
    n: Count
    std: float
    low: float
    high: float
    confidence: float
    method: Literal["student_t"]


class EmbeddingDrift(_Part):
    images: MeanDistance
    classes: MeanDistance


class ClassChange(_Part):
    class_name: str
    before: Estimate
    after: Estimate
    lost: Difference


class PartVerdict(_Part):
    attack: str
    outcome: PartOutcome
    reason: str


class Verdict(_Part):
    outcome: Outcome
    reason: str
    attacks: list[PartVerdict]
    clean_accuracy: PartVerdict | None
    limits_below_gate: bool = False


class Scanner(_Part):
    name: str
    verdict: str
    num_issues: Count
    issues: list[str]


class CheckpointInput(_Part):
    upload_sha256: str | None
    weights_sha256: str
    scanners: list[Scanner] = []


class SettingFigures(_Part):
    value: str
    log_likelihood: float
    ca: Estimate


class Margin(_Part):
    mean: float
    n: Count
    low: float
    high: float
    confidence: float
    method: Literal["paired_normal_bonferroni"]


class Setting(_Part):
    option: str
    value: str
    settled: Literal["tensors", "declared", "configuration", "measured", "assumed"]
    chosen: SettingFigures | None = None
    runner_up: SettingFigures | None = None
    margin: Margin | None = None


class SettledArchitecture(_Part):
    n: Count
    seed: int
    num_classes: Count
    num_templates: Count
    num_compared: Count
    num_image_passes: Count
    num_text_passes: Count
    ca: Estimate | None
    chance: float | None
    settings: Annotated[list[Setting], Field(max_length=100)]


class DataInput(_Part):
    kind: Literal["pairs", "training", "labelled", "retrieval"]
    sha256: str
    num_samples: Count
    num_skipped: Count
    num_classes: Annotated[int, Field(ge=1, le=2**53)] | None = None


class ProbeOptions(_Part):
    max_iterations: Count


class Audit(_Part):
    target: str | None = None
    gate: float
    max_retrieval_pairs: Count = 0
    attacks: list[dict[str, Any]]
    linear_probe: ProbeOptions | None = None


class Recipe(_Part):
    method: Literal["cleanclip", "par", "supervised"] = "cleanclip"
    lambda1: float = 1.0
    lambda2: float = 1.0
    initial_learning_rate: float = 0.0
    epochs: Annotated[int, Field(ge=1, le=2**53)]
    batch_size: Annotated[int, Field(ge=1, le=2**53)]
    learning_rate: Annotated[float, Field(gt=0)]
    warmup_steps: Count = 0
    push_share: float = 0.0


class Policy(_Part):
    asr_at_most: float
    ca_lost_at_most: float
    asr_at_most_for: dict[str, float] = {}


class PolicySource(_Part):
    given: Literal["default", "order", "kept"]
    name: str | None = None
    sha256: str


class CurvePoint(_Part):
    step: Count
    epoch: float
    loss: float
    loss_clip: float | None = None
    loss_self_supervised: float | None = None
    loss_push: float | None = None
    distance_image: float | None = None
    distance_text: float | None = None
    learning_rate: float
    logit_scale: float


class Training(_Part):
    num_steps: Count
    num_epochs: Count
    num_pairs_seen: Count
    wall_s: float
    pairs_per_s: float
    curve: list[CurvePoint]


class AttackChange(_Part):
    attack: str
    asr_lost: Difference
    pa_lost: Difference


class Origin(_Part):
    filename: str
    job_id: str
    job_name: str | None
    project: str
    requested_by: str


class Report(_Part):
    kind: Literal["sanitize", "audit"]
    schema_version: Literal[1]
    seed: int
    origin: Origin | None = None
    checkpoint: CheckpointInput
    architecture: SettledArchitecture | None = None
    data: list[DataInput]
    audit: Audit
    recipe: Recipe | None
    policy: Policy
    policy_source: PolicySource | None = None
    before: AuditFigures
    after: AuditFigures | None
    ca_lost: Difference | None
    attack_changes: Annotated[list[AttackChange], Field(max_length=1000)] = []
    classes_lost: Annotated[list[ClassChange], Field(max_length=1000)] = []
    drift: EmbeddingDrift | None = None
    retrieval_lost: RetrievalLost | None = None
    verdict: Verdict
    training: Training | None
    warnings: list[str]


def parse(document: Any) -> Report:
    """From JSON as it was read. Raises Malformed."""
    try:
        return Report.model_validate(document)
    except ValidationError as error:
        where, what = first_problem(error)
        raise Malformed(f"is no report that this client can check ({where}: {what})") from error
