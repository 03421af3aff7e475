"""What happened, written for every webhook that wants to know, in the transaction that made it happen.

So nothing is told that was rolled back, and nothing that was committed is forgotten.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models.checkpoint import Checkpoint
from app.db.models.dataset import Dataset
from app.db.models.job import Job
from app.db.models.webhook import Webhook
from app.db.models.webhook_delivery import WebhookDelivery
from app.domain.ids import new_id
from app.domain.states import PUBLIC_KINDS, TERMINAL, JobKind, JobState
from app.domain.webhooks import WebhookEvent, WebhookState, message_data
from cleanclip.spec.verdicts import headline, scan_headline


def tell_of_job(session: Session, job: Job) -> None:
    """That a customer's job has ended; of anything else nothing."""
    if job.state in TERMINAL and job.kind in PUBLIC_KINDS:
        data = message_data(
            "job", job.id, "/v1/jobs", kind=job.kind.value, state=job.state.value, **_verdict(job)
        )
        _tell(session, job.project_id, WebhookEvent(f"job.{job.state}"), job.id, data)


def _verdict(job: Job) -> dict[str, str]:
    """What a job that succeeded found out, in words of ours: a receiver that starts a release reads it."""
    result = job.result or {}
    if job.state is JobState.SUCCEEDED and result.get("scan"):
        scan = result["scan"]
        outcome, has_null = scan["verdict"]["outcome"], scan.get("null") is not None
        return {"outcome": outcome, "headline": scan_headline(outcome, has_null=has_null)}
    if job.state is not JobState.SUCCEEDED or not result.get("verdict"):
        return {}
    outcome, judged = result["verdict"]["outcome"], result["verdict"]["attacks"]
    triggers = {
        attack["trigger_sha256"]
        for attack, verdict in zip(result["before"]["attacks"], judged, strict=False)
        if verdict.get("judged", True)
    }
    is_cleaned = job.kind is JobKind.SANITIZE
    return {
        "outcome": outcome,
        "headline": headline(outcome, is_cleaned=is_cleaned, num_triggers=len(triggers)),
    }


def tell_of_checkpoint(session: Session, row: Checkpoint) -> None:
    """That it was accepted or rejected."""
    data = message_data("checkpoint", row.id, "/v1/checkpoints", state=row.state.value)
    _tell(session, row.project_id, WebhookEvent(f"checkpoint.{row.state}"), row.id, data)


def tell_of_dataset(session: Session, row: Dataset) -> None:
    """That it is ready or was rejected."""
    data = message_data("dataset", row.id, "/v1/datasets", kind=row.kind.value, state=row.state.value)
    _tell(session, row.project_id, WebhookEvent(f"dataset.{row.state}"), row.id, data)


def _tell(
    session: Session, project_id: str, event: WebhookEvent, subject_id: str, data: dict[str, Any]
) -> None:
    """A webhook that is being deleted is waited for: else its end would be this transaction's failure."""
    wanting = (
        select(Webhook.id)
        .where(
            Webhook.project_id == project_id,
            Webhook.state == WebhookState.ENABLED,
            Webhook.events.contains([event.value]),
        )
        .order_by(Webhook.id)
        .with_for_update(read=True, key_share=True)
    )
    message_id = new_id("msg")
    session.add_all(
        WebhookDelivery(
            id=new_id("whd"),
            project_id=project_id,
            webhook_id=webhook_id,
            message_id=message_id,
            event=event,
            subject_id=subject_id,
            data=data,
        )
        for webhook_id in session.scalars(wanting).all()
    )
    session.flush()
