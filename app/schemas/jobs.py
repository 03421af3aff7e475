"""Jobs on the wire: how a job stands. What may be ordered: `app.schemas.orders`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field, create_model

from app.db.models.job import Job, JobEvent
from app.schemas.common import AsStored, Page, StoredProblem, Time, WireOut
from app.schemas.orders import OWN_BODIES, PLAINLY_ORDERED, JobAudit, ordered_part
from app.schemas.rebounds import ReboundOut
from app.schemas.scans import ControlOut, OrderedScan, ScanResultOut
from app.schemas.vettings import VetResultOut
from cleanclip.kinds.catalogue import KINDS, PUBLIC
from cleanclip.vocabulary.audit_figures import AttackChange, AuditFigures
from cleanclip.vocabulary.found_attacks import TARGET_OF_SCAN
from cleanclip.vocabulary.measures import Difference
from cleanclip.vocabulary.policy import Policy, PolicySource
from cleanclip.vocabulary.progress import Count, Loss, Rate, Seconds
from cleanclip.vocabulary.recipe import OutputLayout, Recipe
from cleanclip.vocabulary.recommended import RecipeSource
from cleanclip.vocabulary.remarks import remarks
from cleanclip.vocabulary.settled import SettledArchitecture
from cleanclip.vocabulary.strict_json import MAX_TEXT_CHARACTERS
from cleanclip.vocabulary.verdicts import Outcome, Verdict

StateName = Literal["queued", "running", "cancelling", "paused", "succeeded", "failed", "cancelled"]
if TYPE_CHECKING:
    KindName = str
    PhaseName = str
else:
    KindName = Literal[tuple(PUBLIC)]
    PhaseName = Literal[tuple(dict.fromkeys(phase.name for kind in PUBLIC.values() for phase in kind.phases))]


class PhaseOut(WireOut):
    name: PhaseName
    state: Literal["pending", "running", "succeeded", "failed", "cancelled"]
    started_at: Time | None = None
    finished_at: Time | None = None


class ProgressOut(WireOut):
    """`fraction` is of the whole job, 0 to 1; all else is of the running phase. None: it is not known."""

    fraction: Annotated[float, Field(ge=0, le=1)] | None = None
    step: Count | None = None
    total_steps: Count | None = None
    eta_s: Seconds | None = None
    message: str | None = None
    rate: Rate | None = None
    rate_unit: str | None = None
    loss: Loss | None = None

    @classmethod
    def of(cls, progress: dict[str, Any] | None) -> ProgressOut:
        return cls.of_stored(progress or {})


class SignatureOut(WireOut):
    """Whether the job's files were signed by the operator. Signed or not, `cleanclip verify` checks them."""

    state: Literal["signed", "unsigned"] = "unsigned"
    key_sha256: str | None = None
    """Id of the key: SHA-256 of its SubjectPublicKeyInfo."""
    statement_sha256: str | None = None

    @classmethod
    def of(cls, result: dict[str, Any] | None) -> SignatureOut:
        """From a job's result."""
        signature = (result or {}).get("signature")
        return cls.of_stored(signature if isinstance(signature, dict) else {})


class RecheckOut(WireOut):
    """Whether a process that never read the upload measured the same figures again."""

    done: bool = False
    why: str | None = Field(None, description="ordered, by_default, not_ordered or not_signed.")
    num_withheld: Count = Field(
        0, description="Labelled images that the job's first process never had, and that were measured too."
    )
    tolerated_share: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="In which share of its images a count of both processes may differ."
    )


class ResultOut(WireOut):
    """Figures of the audits, of a scan or a vetting; every share with its n and 95 % interval. The whole is
    in report.json.

    A cleaning has `before`, `before_verdict` and `architecture` as soon as its first audit is made, while it
    goes on and where it fails or is cancelled: `preliminary` is then true, there is no `verdict` and no file.
    """

    model_config = ConfigDict(str_max_length=MAX_TEXT_CHARACTERS)

    preliminary: bool = Field(
        False,
        description="The job has not succeeded: what is here was measured before cleaning; it is not signed,"
        " and no second audit has confirmed it.",
    )
    headline: str | None = Field(
        None,
        description="What the job comes to, in a sentence without a full stop that ends with its outcome."
        " Null until it has succeeded.",
        examples=["Cleaned, as far as tested: pass"],
    )
    outcome: Outcome | None = Field(
        None, description="Of the verdict of whatever kind the job is. Null where it judges no model."
    )
    verdict: Verdict | None = None
    before: AuditFigures | None = None
    before_verdict: Verdict | None = Field(
        None, description="Of a cleaning: the verdict of its first audit on the input weights."
    )
    after: AuditFigures | None = None
    ca_lost: Difference | None = None
    attack_changes: list[AttackChange] = Field(default_factory=list)
    rebound: ReboundOut | None = Field(
        None,
        description="What came back after benign fine-tuning, where it was ordered; the curves' points are in"
        " the report.",
    )
    control: list[ControlOut] = Field(
        default_factory=list,
        description="Of a cleaning: what the strongest pattern of each family that a new search found does to"
        " the cleaned model.",
    )
    warnings: list[str] = Field(
        default_factory=list, description="The report's warnings, or the first of them if there are many."
    )
    remarks: list[str] = Field(
        default_factory=list,
        description="On figures that the verdict does not judge: ASR over the rate without a trigger, PA far"
        " under CA. Made from the figures above.",
    )
    scan: ScanResultOut | None = Field(
        None, description="Of a scan: all that it found. The rest is null then."
    )
    vet: VetResultOut | None = Field(
        None, description="Of a vetting: all that it found but the samples. The rest is null then."
    )
    architecture: SettledArchitecture | None = Field(
        None, description="How each setting that tensors do not say (heads, activation) was determined."
    )
    recheck: RecheckOut = RecheckOut()
    signature: SignatureOut = SignatureOut()
    artifact_ids: list[str] = Field(default_factory=list)

    @classmethod
    def of(cls, result: dict[str, Any] | None) -> ResultOut | None:
        """From a job's result; what cannot be shown is left out."""
        if result is None:
            return None
        found = cls.of_stored({name: value for name, value in result.items() if name != "remarks"})
        if found.verdict is None or found.before is None:
            return found
        relearned = [(one.attack, one.ratio) for one in found.rebound.relearned] if found.rebound else []
        reported = remarks(found.before, found.after, found.verdict, relearned)
        return found.model_copy(update={"remarks": reported})


class PlainResultOut(WireOut):
    """What a job of a kind with no figures of its own here found beside its headline: figures with labels."""

    rows: list[tuple[str, str]]


if not TYPE_CHECKING:
    ResultOut = create_model(
        "ResultOut",
        __base__=ResultOut,
        __module__=__name__,
        __doc__=ResultOut.__doc__,
        **{kind.name: (PlainResultOut | None, None) for kind in KINDS.values() if kind.report is not None},
    )


class JobLinks(WireOut):
    self: str
    events: str
    artifacts: str
    report: str
    checkpoint: str


class JobOut(WireOut):
    """A job. Poll `links.self` with If-None-Match, or follow `links.events`."""

    object: Literal["job"] = "job"
    id: str
    name: str | None = Field(description="Shown to people. Null where none was given.")
    kind: KindName
    state: StateName
    phase: PhaseName | None
    phases: Annotated[list[PhaseOut], AsStored]
    progress: ProgressOut
    checkpoint_id: str
    dataset_id: str | None
    recipe: Annotated[Recipe | None, AsStored]
    recipe_given: list[str] | None = Field(
        description="Options of the recipe that the order gave. Null where there is no recipe."
    )
    recipe_source: RecipeSource | None = Field(
        description="Which options were given, which have recommended values and by what source, and where"
        " the others are from. Null where there is no recipe."
    )
    audit: Annotated[JobAudit | None, AsStored] = Field(description="Null for a scan and a vetting.")
    policy: Annotated[Policy | None, AsStored] = Field(description="Null where there is no audit.")
    policy_source: Annotated[PolicySource | None, AsStored] = Field(
        description="Where the policy came from. Null where there is no audit."
    )
    exclude: list[str] = Field(description="Vettings whose lists of samples are left out.")
    scan: Annotated[OrderedScan | None, AsStored] = Field(
        description="Of a scan, and of a cleaning that scans first; else null."
    )
    seed: int
    output_layout: OutputLayout | None
    attempt: int = Field(description="How often a worker started it, pauses and hand-backs included.")
    max_attempts: int
    metadata: dict[str, str]
    created_at: Time
    started_at: Time | None
    finished_at: Time | None
    updated_at: Time
    pause_requested: bool
    error: StoredProblem | None
    result: ResultOut | None
    links: Annotated[JobLinks, AsStored]
    etag: str

    @classmethod
    def of(cls, row: Job) -> JobOut:
        spec = row.spec
        here = f"/v1/jobs/{row.id}"
        return cls.of_row(
            row,
            progress=ProgressOut.of(row.progress),
            recipe=spec.get("recipe"),
            recipe_given=spec.get("recipe_given"),
            recipe_source=spec.get("recipe_source"),
            audit=None if spec.get("audit") is None else _audit(row),
            policy=spec.get("policy"),
            policy_source=spec.get("policy_source"),
            exclude=[one["job_id"] for one in (spec.get("exclude") or {}).values()],
            scan=OrderedScan.of(row),
            output_layout=spec.get("output_layout"),
            metadata=row.job_metadata,
            pause_requested=row.pause_requested_at is not None,
            error=StoredProblem.of(row.error),
            result=ResultOut.of(row.result),
            links={
                "self": here,
                "events": f"{here}/events",
                "artifacts": f"{here}/artifacts",
                "report": f"{here}/report",
                "checkpoint": f"/v1/checkpoints/{row.checkpoint_id}",
            },
            etag=job_etag(row.id, row.version),
            **{kind.option_part: ordered_part(kind, row) for kind in PLAINLY_ORDERED.values()},
        )


if not TYPE_CHECKING:
    JobOut = create_model(
        "JobOut",
        __base__=JobOut,
        __module__=__name__,
        __doc__=JobOut.__doc__,
        **{
            kind.option_part: (
                Annotated[OWN_BODIES[name].model_fields[kind.option_part].annotation | None, AsStored],
                Field(description=f"Null unless it is a job of kind {name}."),
            )
            for name, kind in PLAINLY_ORDERED.items()
        },
    )


def _audit(row: Job) -> dict[str, Any]:
    """As it was ordered. Where the job scans first: with what it has found, once it has."""
    audit, section = row.spec["audit"], row.spec.get("scan_section") or {}
    scan_id = section.get("scan_id")
    return {
        **audit,
        "target": None if audit["target"] == TARGET_OF_SCAN else audit["target"],
        "dataset_id": row.labelled_dataset_id,
        "retrieval_dataset_id": row.retrieval_dataset_id,
        "attacks_from_scan": None if scan_id == row.id else scan_id,
    }


def job_etag(job_id: str, version: int) -> str:
    """The ETag's opaque part: changes with every visible change of the job."""
    return f"{job_id}.{version}"


class EventOut(WireOut):
    """`seq` grows by one without a gap within a job."""

    object: Literal["event"] = "event"
    seq: int
    job_id: str
    type: str
    data: dict[str, Any]
    created_at: Time

    @classmethod
    def of(cls, row: JobEvent) -> EventOut:
        return cls.of_row(row)


class EventPage(WireOut):
    """Oldest first. The next page: the same call with `after` = `last_seq`.

    A page holds at most 1 MiB of texts and JSON, and may end before `limit`.
    """

    object: Literal["list"] = "list"
    data: list[EventOut]
    has_more: bool
    first_seq: int | None
    last_seq: int | None


class JobPage(Page[JobOut]):
    """Jobs, newest first."""
