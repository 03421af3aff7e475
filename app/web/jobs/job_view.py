"""A job as its page shows it: one look at the rows, and at the report once there is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fastapi import Request
from starlette.responses import Response

from app.db.models.job import LOSS_CURVE, Artifact, Job
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import DomainError, NotFound
from app.domain.states import RESUMABLE, TERMINAL, JobState
from app.edge.error_codes import status_of
from app.live.ports import Ports
from app.schemas.common import StoredProblem
from app.schemas.jobs import ProgressOut, ResultOut, SignatureOut
from app.schemas.verdicts import VerdictOut
from app.services import jobs
from app.services.artifacts import REPORT_NAME
from app.storage.port import ObjectStore
from app.web.jobs.job_result import (
    ReportUnreadable,
    TitledLine,
    fetch,
    first_headline,
    kept_figures,
    kept_rows,
    page_shown,
)
from app.web.jobs.job_story import Line, Phase, lines_of, phases_of
from app.web.kit.command_line import command_line, curl_line, has_images
from app.web.kit.rendering import page
from app.web.kit.visitor import Visitor
from cleanclip.face.drawn import Drawn
from cleanclip.face.page import Page
from cleanclip.face.plots import live_loss
from cleanclip.face.scan import scan_page
from cleanclip.kinds.catalogue import KINDS
from cleanclip.kinds.kind import SUSPECT, Input
from cleanclip.vocabulary.jobspec import SCAN_NAMES
from cleanclip.vocabulary.report_kinds import loader
from cleanclip.vocabulary.scan_report import load_scan

NUM_LINES = 40
"""Of what happened; the API's list has all of it."""


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """Addresses of forms that an order can be made from this job with."""

    again: str
    clean: str | None
    clean_label: str | None

    @classmethod
    def after(cls, job: Job) -> NewJob:
        kind = KINDS[job.kind]
        name, label = kind.then_clean or (None, None)
        return cls(
            again=f"/ui/{kind.page}/new?again={job.id}",
            clean=f"/ui/jobs/new?{name}={job.id}" if name else None,
            clean_label=label,
        )


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the templates are given."""

    job: Job
    title: str
    standing: str
    is_active: bool
    offers: frozenset[str]
    phases: Sequence[Phase]
    progress: ProgressOut
    lines: Sequence[Line]
    loss: Drawn
    error: StoredProblem | None
    artifacts: Sequence[Artifact]
    signature: SignatureOut
    found: Page | None
    first_scan: Page | None
    """Of a cleaning that began with a scan whose report can be read."""
    null_name: str | None
    """Of a scan: the null that was chosen for it."""
    unreadable: str | None
    """Why `found` is none though the job left a report."""
    worse: VerdictOut | None
    """The worst verdict on the same weights, where it is worse than the job's own."""
    kept: ResultOut | None
    kept_rows: list[TitledLine]
    """What a job that failed had found out; the figures of a report that cannot be read."""
    first_headline: str | None
    """Of a job that has not succeeded: what its audit before cleaning found out."""
    command: str
    curl: str
    has_images: bool
    recipe: dict[str, Any] | None
    audit: dict[str, Any] | None
    """None of a scan and a vetting."""
    new_job: NewJob
    checkpoint_name: str | None
    read: Sequence[tuple[Input, str | None]]
    """What it read beside its checkpoint, and the id of each."""
    dataset_names: Mapping[str, str]
    """By id, of those that have a name."""
    attempts: str

    def file(self, name: str) -> Artifact | None:
        """The file of that name that the job left."""
        return next((one for one in self.artifacts if one.name == name), None)


def job_page(
    request: Request,
    ports: Ports,
    visitor: Visitor,
    job_id: str,
    *,
    template: str = "job.html",
    refusal: DomainError | None = None,
) -> Response:
    """The page or a part of it. Raises NotFound, also for a job that was deleted."""
    shown = look(request, ports, visitor, job_id)
    status = 200 if refusal is None else status_of(refusal)
    return page(request, template, status, shown=shown, job=shown.job, refusal=refusal)


def look(request: Request, ports: Ports, visitor: Visitor, job_id: str) -> Shown:
    """All that there is to show. Raises NotFound."""
    project_id = visitor.caller.project_id
    with ports.database.unit_of_work(project_id) as unit:
        job = jobs.get(unit, project_id, job_id)
        events, _ = unit.events.page(project_id, job_id, max(0, job.event_seq - NUM_LINES), NUM_LINES)
        artifacts = unit.artifacts.of_job(project_id, job_id)
        num_before = unit.jobs.num_waiting_before(job) if job.state is JobState.QUEUED else 0
        checkpoint_name = _checkpoint_name(unit, job)
        dataset_names = unit.datasets.names(project_id, job.dataset_ids)
        worse = _worse(unit, job) if job.state is JobState.SUCCEEDED else None
    found, unreadable = _found(ports, job, artifacts)
    kept = kept_figures(job.result) if found is None else None
    base_url = f"{request.url.scheme}://{request.url.netloc}"
    now = datetime.now(UTC)
    progress = ProgressOut.of(job.progress)
    return Shown(
        job=job,
        title=f"{KINDS[job.kind].title} of {checkpoint_name or 'a checkpoint that is deleted'}",
        standing=_standing(job, num_before, now),
        is_active=job.state not in TERMINAL,
        offers=offers(job, visitor),
        phases=phases_of(job, now),
        progress=progress,
        lines=lines_of(events, job.kind),
        loss=Drawn() if found is not None else live_loss(job.progress.get(LOSS_CURVE, ()), _last_step(job)),
        error=StoredProblem.of(job.error) if job.state is JobState.FAILED else None,
        artifacts=artifacts,
        signature=SignatureOut.of(job.result),
        found=found,
        first_scan=None if found is None else _first_scan(ports.store, artifacts),
        unreadable=unreadable,
        worse=worse,
        kept=kept,
        kept_rows=kept_rows(kept),
        first_headline=first_headline(kept),
        command=command_line(job),
        curl=curl_line(job, base_url),
        has_images=has_images(job),
        recipe=job.spec.get("recipe"),
        audit=job.spec.get("audit"),
        new_job=NewJob.after(job),
        null_name=(job.spec.get("null") or {}).get("name"),
        checkpoint_name=checkpoint_name,
        read=[(one, getattr(job, one.column)) for one in KINDS[job.kind].inputs if one is not SUSPECT],
        dataset_names=dataset_names,
        attempts=_attempts(job),
    )


def _worse(unit: UnitOfWork, job: Job) -> VerdictOut | None:
    """One that found something: to find nothing, with other triggers, takes nothing away from a pass."""
    own, others = unit.verdicts.of_job(job.project_id, job.id, limit=1)
    if own is None or others.rows[0].badness <= own.badness or not others.rows[0].has_found:
        return None
    return VerdictOut.of(others.rows[0])


def _checkpoint_name(unit: UnitOfWork, job: Job) -> str | None:
    if job.checkpoint_id is None:
        return None
    try:
        return unit.checkpoints.get(job.project_id, job.checkpoint_id).filename
    except NotFound:  # deleted since
        return None


def _attempts(job: Job) -> str:
    """How many of those that it may have were used up; the others were nobody's fault."""
    if not job.attempt:
        return f"none yet; at most {job.max_attempts}"
    used = f"{job.attempts_used} of at most {job.max_attempts}"
    free = job.attempt - job.attempts_used
    if not free:
        return used
    verb = "does" if free == 1 else "do"
    return f"{used}; {free} more {verb} not count (paused, handed back, or before a retry)"


def _last_step(job: Job) -> int | None:
    """Of the training, while it runs."""
    total = job.progress.get("total_steps") if job.phase == "finetune" else None
    return total if isinstance(total, int) else None


def _found(ports: Ports, job: Job, artifacts: Sequence[Artifact]) -> tuple[Page | None, str | None]:
    """What the report says, or why it cannot be shown."""
    if job.state is not JobState.SUCCEEDED:
        return None, None
    row = next((one for one in artifacts if one.name == REPORT_NAME), None)
    if row is None:
        return None, "The job left no report."
    try:
        report = fetch(ports.store, row.object_key, loader(job.kind, KINDS[job.kind].report))
        return page_shown(report), None
    except ReportUnreadable as error:
        return None, str(error)


def _first_scan(store: ObjectStore, artifacts: Sequence[Artifact]) -> Page | None:
    """What the scan before a cleaning found. None where there was none, or its report cannot be read."""
    row = next((one for one in artifacts if one.name == SCAN_NAMES[REPORT_NAME]), None)
    try:
        return None if row is None else scan_page(fetch(store, row.object_key, load_scan))
    except ReportUnreadable:
        return None


def offers(job: Job, visitor: Visitor) -> frozenset[str]:
    """What the visitor may do to the job as it stands; the use cases check it again."""
    if not visitor.may("run"):
        return frozenset()
    actions = {"rename", "again"}
    if job.state in TERMINAL:
        actions.add("delete")
    if job.state in {JobState.QUEUED, JobState.RUNNING, JobState.PAUSED}:
        actions.add("cancel")
    if job.state is JobState.QUEUED or (job.state is JobState.RUNNING and not job.pause_requested_at):
        actions.add("pause")
    if job.state is JobState.PAUSED:
        actions.add("resume")
    if job.state is JobState.RUNNING and job.pause_requested_at:
        actions.add("withdraw")
    if job.state is JobState.FAILED:
        actions.add("retry")
    if KINDS[job.kind].then_clean and job.state is JobState.SUCCEEDED:
        actions.add("clean")
    return frozenset(actions)


def _standing(job: Job, num_before: int, now: datetime) -> str:
    """One sentence; it changes with the state and the phase only, because it is read out when it does."""
    match job.state:
        case JobState.QUEUED:
            return _waiting(job, num_before, now)
        case JobState.RUNNING if job.pause_requested_at:
            return "Pause requested: the worker saves what it has, then stops."
        case JobState.RUNNING:
            return (
                f"Running: {KINDS[job.kind].phase(job.phase).title}." if job.phase else "A worker started it."
            )
        case JobState.CANCELLING:
            return "Cancel requested: the worker stops within seconds."
        case JobState.PAUSED:
            goes_on = "continues from its last saved state" if job.kind in RESUMABLE else "starts again"
            return f"Paused. When you resume it, it {goes_on}."
        case JobState.SUCCEEDED:
            return "Finished."
        case JobState.FAILED:
            return "Failed."
        case JobState.CANCELLED:
            return "Cancelled. It left no result."


def _waiting(job: Job, num_before: int, now: datetime) -> str:
    if job.not_before is not None and job.not_before > now:
        return f"An attempt failed. The next one starts after {job.not_before:%H:%M:%S} UTC."
    if num_before == 0:
        return "Waiting for a worker; it is the first of your project's jobs."
    ahead = "1 job" if num_before == 1 else f"{num_before} jobs"
    return f"Waiting for a worker; {ahead} of your project come{'s' if num_before == 1 else ''} before it."
