"""Webhooks and their deliveries, as requests see them.

What happened, written for every webhook that wants to know, in the transaction that made it happen.

So nothing is reported that was rolled back, and nothing that was committed is forgotten.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app.db.models.assets import Checkpoint, Dataset
from app.db.models.job import Job
from app.db.models.webhook import Webhook, WebhookDelivery
from app.db.repositories.owned import OwnedRepository
from app.db.repositories.pages import page_of
from app.domain.errors import NotFound
from app.domain.ids import new_id
from app.domain.states import PUBLIC_KINDS, TERMINAL, JobState
from app.domain.webhook_messages import DeliveryState, WebhookEvent, WebhookState, message_data


def tell_of_job(session: Session, job: Job) -> None:
    """That a customer's job has ended; of anything else nothing."""
    if job.state in TERMINAL and job.kind in PUBLIC_KINDS:
        data = message_data(
            "job", job.id, "/v1/jobs", kind=job.kind.value, state=job.state.value, **verdict_of(job)
        )
        _tell(session, job.project_id, WebhookEvent(f"job.{job.state}"), job.id, data)


def verdict_of(job: Job) -> dict[str, str]:
    """What a job that succeeded found out, in words of ours: a receiver that starts a release reads it."""
    result = (job.result or {}) if job.state is JobState.SUCCEEDED else {}
    return {name: result[name] for name in ("outcome", "headline") if result.get(name) is not None}


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


class WebhookRepository(OwnedRepository[Webhook]):
    model = Webhook
    noun = "webhook"

    def page(self, project_id: str, after: str | None, limit: int) -> tuple[Sequence[Webhook], bool]:
        """Newest first; `after` is the id of the last row of the page before."""
        return self._page(project_id, after, limit)

    def count(self, project_id: str) -> int:
        query = select(func.count()).select_from(Webhook).where(Webhook.project_id == project_id)
        return int(self._session.scalar(query) or 0)

    def hold(self, project_id: str, id: str) -> Webhook:  # noqa: A002
        """For a change; who only queues a delivery for it need not wait meanwhile. Raises NotFound."""
        query = select(Webhook).where(Webhook.id == id, Webhook.project_id == project_id)
        query = query.with_for_update(key_share=True).execution_options(populate_existing=True)
        row = self._session.scalars(query).one_or_none()
        return self.get(project_id, id) if row is None else row

    def hold_every(self) -> Sequence[Webhook]:
        """Of all projects, for operators, held for a change."""
        query = select(Webhook).order_by(Webhook.id).with_for_update(key_share=True)
        return self._session.scalars(query.execution_options(populate_existing=True)).all()

    def changed(self, row: Webhook) -> Webhook:
        """The caller holds it and has changed it."""
        row.updated_at = func.clock_timestamp()
        self._session.flush()
        return row

    def remove(self, row: Webhook) -> None:
        """With its deliveries. The caller got it `for_update`: nobody queues another one for it."""
        deliveries = delete(WebhookDelivery).where(WebhookDelivery.webhook_id == row.id)
        self._session.execute(deliveries.execution_options(synchronize_session=False))
        self._session.delete(row)
        self._session.flush()

    def remove_all(self, project_id: str) -> None:
        """Of a project that is deleted."""
        query = select(Webhook).where(Webhook.project_id == project_id).order_by(Webhook.id)
        for row in self._session.scalars(query.with_for_update()).all():
            self.remove(row)

    # -- deliveries

    def add_delivery(self, row: WebhookDelivery) -> WebhookDelivery:
        self._session.add(row)
        self._session.flush()
        return row

    def delivery(
        self,
        project_id: str,
        webhook_id: str,
        id: str,  # noqa: A002
        *,
        for_update: bool = False,
    ) -> WebhookDelivery:
        """Raises NotFound, also for one of another webhook."""
        query = select(WebhookDelivery).where(
            WebhookDelivery.id == id,
            WebhookDelivery.webhook_id == webhook_id,
            WebhookDelivery.project_id == project_id,
        )
        if for_update:
            query = query.with_for_update().execution_options(populate_existing=True)
        row = self._session.scalars(query).one_or_none()
        if row is None:
            raise NotFound(
                "webhook_delivery_not_found",
                f"The webhook has no delivery {id[:64]!r}.",
                "List its deliveries; old ones are removed.",
            )
        return row

    def deliveries(
        self, project_id: str, webhook_id: str, after: str | None, limit: int, *, state: DeliveryState | None
    ) -> tuple[Sequence[WebhookDelivery], bool]:
        """Newest first; `after` is the id of the last row of the page before."""
        conditions = [WebhookDelivery.webhook_id == webhook_id]
        if state is not None:
            conditions.append(WebhookDelivery.state == state)
        return page_of(self._session, WebhookDelivery, project_id, after, limit, *conditions)

    def replay(self, row: WebhookDelivery) -> WebhookDelivery:
        """Due now, with all its tries before it. The caller has locked the row."""
        row.state = DeliveryState.PENDING
        row.num_tries = 0
        row.due_at = func.clock_timestamp()
        self._session.flush()
        return row
