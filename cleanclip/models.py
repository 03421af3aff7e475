"""What the service answers, as frozen models.

A newer service may add fields (they are kept and appear in `to_json`) and states (they are plain text); what
this client does not need may be absent.
"""

import base64
from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

TERMINAL_JOB_STATES = frozenset({"succeeded", "failed", "cancelled"})


class Answer(BaseModel):
    """Base of every answer."""

    model_config = ConfigDict(frozen=True, extra="allow")

    def to_json(self) -> dict[str, Any]:
        """As the service sent it, fields included that this client does not know."""
        return self.model_dump(mode="json")


class Reason(Answer):
    """Why a checkpoint or dataset was rejected, or a job failed."""

    code: str
    detail: str = ""
    remedy: str = ""
    where: str | None = None
    said: str | None = None
    """What the job's process said. It reads untrusted files: do not take its words for the service's."""
    phase: str | None = None
    retryable: bool = False


class PartURL(Answer):
    """PUT exactly `size_bytes` bytes to `url`."""

    number: int
    size_bytes: int
    url: str
    expires_at: datetime | None = None


class StoredPart(Answer):
    number: int
    size_bytes: int
    etag: str


class Upload(Answer):
    """open → completed | cancelled | expired. Part n holds the bytes from (n-1)·part_size_bytes on."""

    id: str
    state: str
    purpose: str = "checkpoint"
    filename: str = ""
    size_bytes: int
    sha256: str | None = None
    part_size_bytes: int
    num_parts: int
    checkpoint_id: str | None = None
    created_at: datetime | None = None
    expires_at: datetime | None = None
    completed_at: datetime | None = None
    parts: tuple[PartURL, ...] | None = None
    stored_parts: tuple[StoredPart, ...] | None = None


class UploadParts(Answer):
    upload_id: str
    parts: tuple[PartURL, ...]


class Scanner(Answer):
    """What another scanner said of the uploaded bytes: evidence only."""

    name: str
    version: str | None = None
    verdict: str = ""
    num_issues: int = 0
    issues: tuple[str, ...] = ()


class Verdict(Answer):
    """What one job found out about weights. `stage`: audit, before_cleaning, after_cleaning or scan.

    `preliminary`: measured before cleaning, by a job that has not succeeded; not signed.
    """

    job_id: str
    stage: str = ""
    outcome: str = ""
    headline: str = ""
    num_triggers: int = 0
    preliminary: bool = False
    created_at: datetime | None = None


class Verdicts(Answer):
    """Worst first: fail, undecided, inconclusive, pass. `num_verdicts`: how many there are, up to 1,000."""

    weights_sha256: str | None = None
    data: tuple[Verdict, ...] = ()
    num_verdicts: int = 0


class Source(Answer):
    """Where the service fetched a checkpoint from; what is not known is None. `commit`: of a hub."""

    ordered: str
    commit: str | None = None
    path: str | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    fetched_at: datetime | None = None


class Checkpoint(Answer):
    """quarantined → scanning → accepted | rejected. Jobs take accepted ones.

    `verdicts`: of all finished jobs on the same weights, the worst first, whichever checkpoint they came in.
    """

    id: str
    state: str
    filename: str = ""
    size_bytes: int = 0
    source: Source | None = None
    """None for a file that was uploaded."""
    sha256: str | None = None
    weights_sha256: str | None = None
    declared: dict[str, Any] | None = None
    layout: str | None = None
    # None in lists, as are assumed, findings and scanners; one that is read alone has them.
    architecture: dict[str, Any] | None = None
    architecture_name: str | None = None
    num_parameters: int | None = None
    dtype: str | None = None
    assumed: dict[str, str] | None = None
    findings: tuple[str, ...] | None = None
    scanners: tuple[Scanner, ...] | None = None
    error: Reason | None = None
    verdicts: tuple[Verdict, ...] = ()
    num_verdicts: int = 0
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def is_finished(self) -> bool:
        """Whether the inspection has decided, or was given up (`error` says why)."""
        return self.state in {"accepted", "rejected"} or self.error is not None


class DatasetSummary(Answer):
    """What a dataset holds, by reading every sample."""

    sha256: str | None = None
    num_shards: int = 0
    num_samples: int = 0
    num_skipped: int = 0
    skipped_reasons: dict[str, int] = {}
    skipped_examples: tuple[str, ...] = ()
    images_per_class: tuple[int, ...] | None = None


class Dataset(Answer):
    """validating → ready | rejected."""

    id: str
    kind: str
    state: str
    name: str | None = None
    uri: str | None = None
    upload_id: str | None = None
    max_skipped_share: float | None = None
    num_files: int | None = None
    size_bytes: int | None = None
    num_classes: int | None = None
    class_names: tuple[str, ...] | None = None
    """None in lists, as `templates` and, of the summary, `images_per_class`."""
    templates: tuple[str, ...] | None = None
    summary: DatasetSummary | None = None
    error: Reason | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def is_finished(self) -> bool:
        """Whether the validation has decided, or was given up (`error` says why)."""
        return self.state in {"ready", "rejected"} or self.error is not None


class DatasetSample(Answer):
    """`caption` of a pair, `label` and `class_name` of a labelled image."""

    index: int
    key: str
    caption: str | None = None
    label: int | None = None
    class_name: str | None = None
    width: int
    height: int
    jpeg_base64: str

    @property
    def jpeg(self) -> bytes:
        """The image: a file of at most 160 pixels a side."""
        return base64.b64decode(self.jpeg_base64)


class DatasetSamples(Answer):
    """Some of the good samples, drawn by `seed` from all of them, in the order of the set."""

    seed: int
    samples: tuple[DatasetSample, ...]


class Phase(Answer):
    name: str
    state: str
    started_at: datetime | None = None
    finished_at: datetime | None = None


class Progress(Answer):
    """Of the running phase; `fraction` from 0 to 1, None where it is not known."""

    fraction: float | None = None
    step: int | None = None
    total_steps: int | None = None
    eta_s: float | None = None
    message: str | None = None
    rate: float | None = None
    rate_unit: str | None = None
    loss: float | None = None


class Signature(Answer):
    """Whether the job's operator signed what the job left, and with which key. Not a check: see `verify`."""

    state: str = "unsigned"
    key_sha256: str | None = None
    statement_sha256: str | None = None


class Recheck(Answer):
    """Whether a process that never read the upload measured the same figures again, and on how many labelled
    images that the job's first process never had."""

    done: bool = False
    why: str | None = None
    num_withheld: int = 0


class Result(Answer):
    """Figures of a job, as in report.json: every share with its n and 95 % interval.

    `preliminary`: `before`, `before_verdict` and `architecture` are all there is; they were measured before
    cleaning, and are not signed.
    """

    preliminary: bool = False
    headline: str | None = None
    """What the job comes to. None until it has succeeded."""
    outcome: str | None = None
    """Of its verdict: fail, controlled, undecided, inconclusive or pass; of a scan never pass. None of a job
    that judges no model."""
    verdict: dict[str, Any] | None = None
    before: dict[str, Any] | None = None
    before_verdict: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    ca_lost: dict[str, Any] | None = None
    attack_changes: tuple[dict[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    control: tuple[dict[str, Any], ...] = ()
    """Of a cleaning: what the strongest pattern of each family does to the returned weights."""
    scan: dict[str, Any] | None = None
    """Of a scan: verdict, p-value, hypotheses, `control`. The figures of audits are None then."""
    vet: dict[str, Any] | None = None
    """Of a vetting: how many samples are set aside, scores, measured recall. The rest is None then."""
    architecture: dict[str, Any] | None = None
    recheck: Recheck = Recheck()
    signature: Signature = Signature()
    artifact_ids: tuple[str, ...] = ()


class Job(Answer):
    """queued → running → succeeded | failed | cancelled; running → paused → queued."""

    id: str
    kind: str
    state: str
    name: str | None = None
    phase: str | None = None
    phases: tuple[Phase, ...] = ()
    progress: Progress = Progress()
    checkpoint_id: str | None = None
    dataset_id: str | None = None
    recipe: dict[str, Any] | None = None
    recipe_given: tuple[str, ...] | None = None
    recipe_source: dict[str, Any] | None = None
    """Which options were given, which have recommended values, and by what source."""
    audit: dict[str, Any] | None = None
    policy: dict[str, Any] | None = None
    policy_source: dict[str, Any] | None = None
    exclude: tuple[str, ...] = ()
    """Vettings whose lists of samples are left out."""
    scan: dict[str, Any] | None = None
    vet: dict[str, Any] | None = None
    seed: int = 0
    output_layout: str | None = None
    attempt: int = 0
    max_attempts: int | None = None
    metadata: dict[str, str] = {}
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    updated_at: datetime | None = None
    pause_requested: bool = False
    error: Reason | None = None
    result: Result | None = None
    etag: str | None = None

    @property
    def is_finished(self) -> bool:
        """Whether the job has ended; a failed one may still be retried."""
        return self.state in TERMINAL_JOB_STATES

    @property
    def signature(self) -> Signature:
        """What the service says about the signature of the job's files."""
        return self.result.signature if self.result is not None else Signature()


class Event(Answer):
    """`seq` grows by one without a gap within a job."""

    seq: int
    job_id: str
    type: str
    data: dict[str, Any] = {}
    created_at: datetime | None = None


class Artifact(Answer):
    """A file that a job left."""

    id: str
    job_id: str
    name: str
    size_bytes: int
    sha256: str
    media_type: str = "application/octet-stream"
    created_at: datetime | None = None


class Null(Answer):
    """What reference models that were never poisoned measured. A scan is judged by it where architecture,
    class list, image set, options, seed and anchor are the same."""

    id: str
    name: str
    about: str = ""
    sha256: str = ""
    num_models: int = 0
    smallest_p: float = 1.0
    architecture: dict[str, Any] | None = None
    class_names_sha256: str = ""
    num_classes: int = 0
    images_sha256: str = ""
    options: dict[str, Any] | None = None
    seed: int = 0
    anchor_sha256: str | None = None
    fine_tunes_of: str | None = None
    signing_key_sha256: str | None = None
    built_at: datetime | None = None
    created_at: datetime | None = None


T = TypeVar("T", bound=Answer)


class Page(Answer, Generic[T]):
    """Newest first. The next page: the same call with `after` = `last_id`."""

    data: tuple[T, ...]
    has_more: bool = False
    first_id: str | None = None
    last_id: str | None = None


class EventPage(Answer):
    """Oldest first. The next page: the same call with `after` = `last_seq`."""

    data: tuple[Event, ...]
    has_more: bool = False
    first_seq: int | None = None
    last_seq: int | None = None


class Methods(Answer):
    """What can be ordered, each with a JSON Schema of its options and their defaults; suites with attacks."""

    methods: tuple[dict[str, Any], ...] = ()
    recommended: tuple[dict[str, Any], ...] = ()
    """Values of recipes for families and sizes of models, each with its source."""
    attacks: tuple[dict[str, Any], ...] = ()
    suites: tuple[dict[str, Any], ...] = ()
