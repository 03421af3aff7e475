"""Webhooks: made, changed, tested, deleted; their deliveries replayed. What sends them is worker/webhooks.

The routes see to it that only a key with scope admin comes here: a webhook carries news out of the project,
and its address may hold a secret of the receiver's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.db.models.webhook import Webhook, WebhookDelivery
from app.db.sealing import Sealer
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import Conflict
from app.domain.ids import new_id
from app.domain.webhook_messages import (
    SUBSCRIBABLE,
    DisabledReason,
    WebhookEvent,
    WebhookState,
    message_data,
    new_secret,
)
from app.domain.webhook_urls import ReachRules
from app.services.api_keys import Caller
from app.services.trail import note

DEFAULT_OVERLAP_S = 24 * 3600


@dataclass(frozen=True, kw_only=True)
class WebhookRules:
    """What the installation allows. `sealer` None: its operator set no key, and nobody makes a webhook."""

    sealer: Sealer | None
    reach: ReachRules
    max_per_project: int

    def seal(self, secret: str) -> str:
        """Raises Conflict (`webhooks_off`)."""
        if self.sealer is None:
            raise Conflict(
                "webhooks_off",
                "This installation sends no webhooks.",
                "Ask its operator to set CLEANCLIP_WEBHOOKS__ENCRYPTION_KEYS.",
            )
        return self.sealer.seal(secret)


@dataclass(frozen=True, kw_only=True)
class WebhookChange:
    """None: as it was."""

    url: str | None = None
    events: Sequence[WebhookEvent] | None = None
    enabled: bool | None = None


def create(
    unit: UnitOfWork,
    caller: Caller,
    rules: WebhookRules,
    *,
    url: str,
    events: Sequence[WebhookEvent] = SUBSCRIBABLE,
) -> tuple[Webhook, str]:
    """A webhook and its secret, which cannot be had again.

    Raises InvalidInput (`webhook_url_invalid`, `webhook_url_not_allowed`), Conflict (`too_many_webhooks`,
    `webhooks_off`).
    """
    rules.reach.check(url)
    unit.quotas.hold(caller.project_id)
    if unit.webhooks.count(caller.project_id) >= rules.max_per_project:
        raise Conflict(
            "too_many_webhooks",
            f"The project has {rules.max_per_project} webhooks already, which is the limit.",
            "Delete one that is not needed any more.",
        )
    secret = new_secret()
    row = unit.webhooks.add(
        Webhook(
            id=new_id("wh"),
            project_id=caller.project_id,
            url=url,
            events=_words(events),
            sealed_secret=rules.seal(secret),
        )
    )
    note(unit, caller, "webhook.create", row.id)
    return row, secret


def change(
    unit: UnitOfWork, caller: Caller, rules: WebhookRules, webhook_id: str, wanted: WebhookChange
) -> Webhook:
    """What waits for it goes to the new address. Raises NotFound, InvalidInput."""
    if wanted.url is not None:
        rules.reach.check(wanted.url)
    row = unit.webhooks.hold(caller.project_id, webhook_id)
    if wanted.url is not None:
        row.url = wanted.url
    if wanted.events is not None:
        row.events = _words(wanted.events)
    if wanted.enabled is True:
        row.state, row.disabled_reason, row.failing_since = WebhookState.ENABLED, None, None
    elif wanted.enabled is False and row.state is WebhookState.ENABLED:
        row.state, row.disabled_reason = WebhookState.DISABLED, DisabledReason.REQUESTED
    unit.webhooks.changed(row)
    note(unit, caller, "webhook.update", row.id)
    return row


def rotate_secret(
    unit: UnitOfWork,
    caller: Caller,
    rules: WebhookRules,
    webhook_id: str,
    *,
    overlap_s: float = DEFAULT_OVERLAP_S,
) -> tuple[Webhook, str]:
    """A new secret; the old one signs beside it for `overlap_s`. With 0, whatever signed before ends at once.

    Raises NotFound, Conflict (`webhook_already_rotated` while two sign already; `webhooks_off`).
    """
    row = unit.webhooks.hold(caller.project_id, webhook_id)
    now = datetime.now(UTC)
    if overlap_s > 0 and row.previous_ends_at is not None and row.previous_ends_at > now:
        raise Conflict(
            "webhook_already_rotated",
            "The secret was rotated, and the one before it still signs.",
            "Wait until the old one ends (previous_secret_ends_at), or rotate with overlap_s "
            "0, which ends both.",
        )
    secret = new_secret()
    old, row.sealed_secret = row.sealed_secret, rules.seal(secret)
    row.sealed_previous_secret = old if overlap_s > 0 else None
    row.previous_ends_at = now + timedelta(seconds=overlap_s) if overlap_s > 0 else None
    unit.webhooks.changed(row)
    note(unit, caller, "webhook.rotate_secret", row.id)
    return row, secret


def delete(unit: UnitOfWork, caller: Caller, webhook_id: str) -> None:
    """At once, with its deliveries; a try that is under way may still arrive. Raises NotFound."""
    row = unit.webhooks.get(caller.project_id, webhook_id, for_update=True)
    unit.webhooks.remove(row)
    unit.idempotency.forget(caller.project_id, webhook_id)
    note(unit, caller, "webhook.delete", webhook_id)


def test(unit: UnitOfWork, caller: Caller, webhook_id: str) -> WebhookDelivery:
    """Queue a message that says nothing but that it is a test. Raises NotFound, Conflict
    (`webhook_state_conflict`)."""
    webhook = unit.webhooks.hold(caller.project_id, webhook_id)
    _check_enabled(webhook)
    row = WebhookDelivery(
        id=new_id("whd"),
        project_id=caller.project_id,
        webhook_id=webhook.id,
        message_id=new_id("msg"),
        event=WebhookEvent.TEST,
        subject_id=webhook.id,
        data=message_data("webhook", webhook.id, "/v1/webhooks"),
    )
    note(unit, caller, "webhook.test", webhook.id)
    return unit.webhooks.add_delivery(row)


def replay(unit: UnitOfWork, caller: Caller, webhook_id: str, delivery_id: str) -> WebhookDelivery:
    """Send it again, whatever became of it, now and with all its tries before it; the message id stays.

    Raises NotFound, Conflict (`webhook_state_conflict`).
    """
    webhook = unit.webhooks.hold(caller.project_id, webhook_id)
    row = unit.webhooks.delivery(caller.project_id, webhook_id, delivery_id, for_update=True)
    _check_enabled(webhook)
    note(unit, caller, "webhook.replay", delivery_id)
    return unit.webhooks.replay(row)


def _check_enabled(webhook: Webhook) -> None:
    if webhook.state is not WebhookState.ENABLED:
        raise Conflict("webhook_state_conflict", "The webhook is disabled.", "Enable it first.")


def _words(events: Sequence[WebhookEvent]) -> list[str]:
    return sorted({event.value for event in events})
