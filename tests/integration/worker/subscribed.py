"""Webhooks of a world's project, deliverers with a real sender, a delivery's clock turned forward."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import text

from app.db.models.webhook import Webhook, WebhookDelivery
from app.db.repositories.webhook_claims import ClaimedDelivery
from app.db.sealing import Sealer
from app.db.session import Database
from app.domain.ids import new_id
from app.domain.states import JobKind
from app.domain.webhook_messages import SUBSCRIBABLE, WebhookEvent, new_secret
from app.domain.webhook_urls import ReachRules
from tests.fakes.webhook_receiver import Receiver
from tests.fixtures.databases import session_of
from tests.fixtures.webhooks import WEBHOOKS_KEY
from tests.integration.worker.world import World
from worker.webhooks.delivering import Deliverer, DelivererOptions
from worker.webhooks.sending import Sender

SEALER = Sealer([WEBHOOKS_KEY])
ONLY_CANCELLED = (WebhookEvent.JOB_CANCELLED,)
ERROR = {"code": "child_crashed", "message": "It ended.", "remedy": "Look.", "retryable": False}
"""Of a job that failed."""


def said(receiver: Receiver) -> list[tuple[str, str, str]]:
    """(type, object, id) of every message, in the order in which they came."""
    bodies = [json.loads(message.body) for message in receiver.messages]
    return [(body["type"], body["data"]["object"], body["data"]["id"]) for body in bodies]


def subscribe(
    world: World, url: str, events: Sequence[WebhookEvent] = SUBSCRIBABLE, **values: Any
) -> tuple[str, str]:
    """A webhook of the world's project: its id and its secret."""
    secret = new_secret()
    row = Webhook(
        id=new_id("wh"),
        project_id=world.project_id,
        url=url,
        events=[event.value for event in events],
        sealed_secret=SEALER.seal(secret),
        **values,
    )
    with world.hands.unit_of_work() as unit:
        unit.webhooks.add(row)
    return row.id, secret


def deliverer(database: Database, *, timeout_s: float = 5.0, **options: Any) -> Deliverer:
    sender = Sender(ReachRules(allow_loopback=True), timeout_s=timeout_s)
    values: dict[str, Any] = {"luck": lambda: 0.0, "poll_every_s": 0.05}
    return Deliverer(database, SEALER, sender.post, DelivererOptions(**(values | options)))


def claim(database: Database, *, lease_s: float = 60.0) -> ClaimedDelivery:
    """The one delivery that is due."""
    with database.unit_of_work() as unit:
        (claimed,) = unit.webhook_claims.claim(10, lease_s=lease_s)
    return claimed


def deliveries(world: World, webhook_id: str) -> list[WebhookDelivery]:
    """Oldest first."""
    with world.hands.unit_of_work() as unit:
        rows, has_more = unit.webhooks.deliveries(world.project_id, webhook_id, None, 1000, state=None)
    assert not has_more
    return list(reversed(rows))


def webhook(world: World, webhook_id: str) -> Webhook:
    with world.hands.unit_of_work() as unit:
        return unit.webhooks.get(world.project_id, webhook_id)


def execute(world: World, statement: str, **values: Any) -> None:
    """Change the database behind everybody's back."""
    with session_of(world.hands) as session:
        session.execute(text(statement), values)


def make_due(world: World, webhook_id: str) -> None:
    """As if the pause before the next try were over."""
    execute(
        world,
        "UPDATE webhook_deliveries SET due_at = now() WHERE webhook_id = :id AND state = 'pending'",
        id=webhook_id,
    )


def happen(world: World, times: int = 1) -> list[str]:
    """So many jobs of the project are cancelled while they wait; their ids."""
    ids = [queued_job(world) for _ in range(times)]
    for job_id in ids:
        with world.hands.unit_of_work() as unit:
            unit.jobs.request_cancel(world.project_id, job_id)
    return ids


def queued_job(world: World) -> str:
    """A customer's job about nothing, which nobody will run; its id."""
    return world.enqueued(JobKind.AUDIT).id
