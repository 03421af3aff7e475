"""Deliveries, as deliverers see them: of all projects, claimed one per webhook, recorded behind a fence.

Who has claimed a webhook is alone with it until `busy_until`: one slow server holds one place, whatever waits
for it, and gets one request at a time. Of those that have something due, the one served longest ago comes
next.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import CursorResult, Select, delete, func, or_, select

from app.db.models.webhook import Webhook, WebhookDelivery
from app.db.repositories.base import Repository
from app.db.repositories.trail import TrailRepository
from app.domain.ids import lowest_id
from app.domain.webhook_messages import (
    MAX_TRIES,
    Answer,
    DeliveryError,
    DeliveryState,
    DisabledReason,
    WebhookEvent,
    WebhookState,
)

ACTOR = "webhooks"


@dataclass(frozen=True, kw_only=True)
class ClaimedDelivery:
    """Everything that one try needs. `sealed_secrets`: all that sign now, the newest first."""

    id: str
    webhook_id: str
    attempt: int
    num_tries: int
    """This one included."""
    url: str
    sealed_secrets: tuple[str, ...]
    message_id: str
    event: WebhookEvent
    occurred_at: datetime
    data: dict[str, Any]


class WebhookClaimRepository(Repository):
    def claim(self, limit: int, *, lease_s: float) -> list[ClaimedDelivery]:
        """At most one due delivery of each of at most `limit` webhooks that nobody is sending to."""
        due = _due().where(WebhookDelivery.webhook_id == Webhook.id)
        query = (
            select(Webhook)
            .where(
                Webhook.state == WebhookState.ENABLED,
                or_(Webhook.busy_until.is_(None), Webhook.busy_until < func.now()),
                due.exists(),
            )
            .order_by(Webhook.busy_until.nulls_first(), Webhook.id)
            .limit(limit)
            .with_for_update(key_share=True, skip_locked=True)
            .execution_options(populate_existing=True)
        )
        free = self._session.scalars(query).all()
        found = [self._claim_one(webhook, self._now(), lease_s) for webhook in free]
        self._session.flush()
        return [claimed for claimed in found if claimed is not None]

    def _claim_one(self, webhook: Webhook, now: datetime, lease_s: float) -> ClaimedDelivery | None:
        query = _due().where(WebhookDelivery.webhook_id == webhook.id)
        query = query.order_by(WebhookDelivery.due_at, WebhookDelivery.id).limit(1)
        query = query.with_for_update(skip_locked=True).execution_options(populate_existing=True)
        row = self._session.scalars(query).one_or_none()
        if row is None:  # somebody is replaying it
            return None
        if row.num_tries >= MAX_TRIES:
            row.state, row.error = DeliveryState.FAILED, DeliveryError.INTERRUPTED
            return None
        row.attempt += 1
        row.num_tries += 1
        webhook.busy_until = now + timedelta(seconds=lease_s)
        return ClaimedDelivery(
            id=row.id,
            webhook_id=webhook.id,
            attempt=row.attempt,
            num_tries=row.num_tries,
            url=webhook.url,
            sealed_secrets=_sealed_secrets(webhook, now),
            message_id=row.message_id,
            event=row.event,
            occurred_at=row.created_at,
            data=row.data,
        )

    def record(
        self, claimed: ClaimedDelivery, answer: Answer, *, wait_s: float | None, failing_for_s: float
    ) -> DeliveryState | None:
        """How the try ended; `wait_s` until the next one, None: there is none. Returns the state reached.

        A webhook that is gone, or has failed for `failing_for_s`, is disabled. None: fenced off, or deleted.
        """
        webhook: Webhook | None = self._locked(Webhook, claimed.webhook_id)  # first, as whoever deletes it
        row: WebhookDelivery | None = self._locked(WebhookDelivery, claimed.id)
        if webhook is None or row is None or row.attempt != claimed.attempt:
            return None
        now = self._now()
        webhook.busy_until = row.tried_at = now
        row.status, row.error, row.excerpt = answer.status, answer.error, answer.excerpt
        row.took_ms = round(1000 * answer.took_s)
        if answer.error is None:
            row.state, webhook.failing_since = DeliveryState.DELIVERED, None
        elif answer.is_gone:
            row.state = DeliveryState.FAILED
        elif row.num_tries == claimed.num_tries:  # else it was replayed meanwhile, and is due
            if wait_s is None:
                row.state = DeliveryState.FAILED
            else:
                row.due_at = now + timedelta(seconds=wait_s)
        if answer.error is not None:
            webhook.failing_since = webhook.failing_since or now
            is_failing = now - webhook.failing_since >= timedelta(seconds=failing_for_s)
            if webhook.state is WebhookState.ENABLED and (answer.is_gone or is_failing):
                self._disable(webhook, DisabledReason.GONE if answer.is_gone else DisabledReason.FAILING, now)
        self._session.flush()
        return row.state

    def _disable(self, webhook: Webhook, reason: DisabledReason, now: datetime) -> None:
        webhook.state, webhook.disabled_reason, webhook.updated_at = WebhookState.DISABLED, reason, now
        TrailRepository(self._session).add(
            project_id=webhook.project_id, actor=ACTOR, action="webhook.disable", target_id=webhook.id
        )

    def _now(self) -> datetime:
        found: datetime = self._session.scalars(select(func.clock_timestamp())).one()
        return found

    def _locked(self, model: type[Any], id: str) -> Any:  # noqa: A002
        query = select(model).where(model.id == id).with_for_update(key_share=True)
        return self._session.scalars(query.execution_options(populate_existing=True)).one_or_none()

    # -- the sweeper's

    def forget_old(self, older_than_s: float, limit: int = 10_000) -> int:
        """Remove deliveries that were made before then, whatever became of them; returns how many."""
        then_s = self._now().timestamp() - older_than_s
        old = (
            select(WebhookDelivery.id)
            .where(WebhookDelivery.id < lowest_id("whd", then_s))
            .order_by(WebhookDelivery.id)
            .limit(limit)
        )
        statement = delete(WebhookDelivery).where(WebhookDelivery.id.in_(old))
        statement = statement.execution_options(synchronize_session=False)
        return cast("CursorResult[object]", self._session.execute(statement)).rowcount


def _due() -> Select[WebhookDelivery]:
    """By the time at which the transaction began: an index can be searched for that, not for the clock's."""
    return select(WebhookDelivery).where(
        WebhookDelivery.state == DeliveryState.PENDING, WebhookDelivery.due_at <= func.now()
    )


def _sealed_secrets(webhook: Webhook, now: datetime) -> tuple[str, ...]:
    previous, ends_at = webhook.sealed_previous_secret, webhook.previous_ends_at
    if previous is None or ends_at is None or ends_at <= now:
        return (webhook.sealed_secret,)
    return (webhook.sealed_secret, previous)
