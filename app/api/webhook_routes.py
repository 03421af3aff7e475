"""Routes of webhooks: make, read, change, rotate, test, delete; deliveries and replays. Scope admin.

A secret goes out once. The stored answer for a repeated Idempotency-Key has `secret` null, as with API keys.
"""

from typing import Annotated

from fastapi import APIRouter, Body, Query
from starlette.responses import Response

from app.api.answers import json_answer, page_of, refusals
from app.api.auth import Admin
from app.api.idempotency import Once, OnceDep
from app.api.paths import After, DeliveryPath, Limit, WebhookPath
from app.api.turns import IN_TURN
from app.db.models.webhook import Webhook
from app.db.unit_of_work import UnitOfWork
from app.domain.limits import DEFAULT_PAGE
from app.domain.webhook_messages import DeliveryState, WebhookEvent
from app.live.ports import PortsDep
from app.schemas.webhook_shapes import (
    DeliveryOut,
    DeliveryPage,
    IssuedWebhookOut,
    RotateSecretIn,
    WebhookChangeIn,
    WebhookIn,
    WebhookOut,
    WebhookPage,
)
from app.services import webhook_management
from app.services.webhook_management import WebhookChange

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])


@router.post(
    "",
    summary="Create a webhook",
    status_code=201,
    response_model=IssuedWebhookOut,
    responses=refusals(409, 413, 422),
)
def create_webhook(body: WebhookIn, caller: Admin, ports: PortsDep, once: OnceDep) -> Response:
    """Messages by Standard Webhooks 1.0.

    Only this answer holds the secret that signs them. A request repeated with the same Idempotency-Key
    returns `secret` null; if the first answer was lost, rotate the secret.
    """
    with ports.database.unit_of_work(caller.project_id) as unit:
        if (answer := once.seen(unit, caller)) is not None:
            return answer
        events = [WebhookEvent(event) for event in body.events]
        row, secret = webhook_management.create(
            unit, caller, ports.webhook_rules, url=body.url, events=events
        )
        return _issued(unit, once, row, secret)


def _issued(unit: UnitOfWork, once: Once, row: Webhook, secret: str) -> Response:
    issued = IssuedWebhookOut.issued(row, secret)
    headers = {"Location": issued.links.self}
    return once.keep(unit, issued, status=201, headers=headers, stored=issued.without_secret())


@router.get(
    "",
    summary="Webhooks, newest first",
    response_model=WebhookPage,
    responses=refusals(422),
    dependencies=[IN_TURN],
)
def list_webhooks(
    *, caller: Admin, ports: PortsDep, after: After = None, limit: Limit = DEFAULT_PAGE
) -> Response:
    """Disabled ones too."""
    with ports.database.unit_of_work(caller.project_id) as unit:
        rows, has_more = unit.webhooks.page(caller.project_id, after, limit)
    return json_answer(page_of(WebhookPage, map(WebhookOut.of, rows), has_more))


@router.get(
    "/{webhook_id}",
    summary="A webhook's address and state",
    response_model=WebhookOut,
    responses=refusals(404),
)
def get_webhook(webhook_id: WebhookPath, caller: Admin, ports: PortsDep) -> Response:
    """Never its secret."""
    with ports.database.unit_of_work(caller.project_id) as unit:
        row = unit.webhooks.get(caller.project_id, webhook_id)
    return json_answer(WebhookOut.of(row))


@router.patch(
    "/{webhook_id}",
    summary="Change a webhook's address or events, disable or enable it",
    response_model=WebhookOut,
    responses=refusals(404, 413, 422),
)
def update_webhook(
    webhook_id: WebhookPath, body: WebhookChangeIn, caller: Admin, ports: PortsDep
) -> Response:
    """Waiting messages go to the new address. While it is disabled nothing is queued for it; the lists
    of jobs, checkpoints and datasets show what happened."""
    events = None if body.events is None else [WebhookEvent(event) for event in body.events]
    wanted = WebhookChange(url=body.url, events=events, enabled=body.enabled)
    with ports.database.unit_of_work(caller.project_id) as unit:
        row = webhook_management.change(unit, caller, ports.webhook_rules, webhook_id, wanted)
        webhook = WebhookOut.of(row)
    return json_answer(webhook)


@router.post(
    "/{webhook_id}/rotate-secret",
    summary="Replace the secret with a new one",
    status_code=201,
    response_model=IssuedWebhookOut,
    responses=refusals(404, 409, 413, 422),
)
def rotate_webhook_secret(
    webhook_id: WebhookPath,
    caller: Admin,
    ports: PortsDep,
    once: OnceDep,
    body: Annotated[RotateSecretIn | None, Body()] = None,
) -> Response:
    """Both secrets sign for `overlap_s` (default: a day), so that receivers can switch at any time. Only this
    answer holds the new secret."""
    order = body or RotateSecretIn()
    with ports.database.unit_of_work(caller.project_id) as unit:
        if (answer := once.seen(unit, caller)) is not None:
            return answer
        row, secret = webhook_management.rotate_secret(
            unit, caller, ports.webhook_rules, webhook_id, overlap_s=order.overlap_s
        )
        return _issued(unit, once, row, secret)


@router.delete(
    "/{webhook_id}", summary="Delete a webhook and its deliveries", status_code=204, responses=refusals(404)
)
def delete_webhook(webhook_id: WebhookPath, caller: Admin, ports: PortsDep) -> Response:
    """Takes effect at once. A message that is being sent may still arrive."""
    with ports.database.unit_of_work(caller.project_id) as unit:
        webhook_management.delete(unit, caller, webhook_id)
    return Response(status_code=204)


@router.post(
    "/{webhook_id}/test",
    summary="Send a test message",
    status_code=202,
    response_model=DeliveryOut,
    responses=refusals(404, 409),
)
def test_webhook(webhook_id: WebhookPath, caller: Admin, ports: PortsDep, once: OnceDep) -> Response:
    """The event is `webhook.test`, whatever events the webhook subscribes to.

    Read the delivery to see the result.
    """
    with ports.database.unit_of_work(caller.project_id) as unit:
        if (answer := once.seen(unit, caller)) is not None:
            return answer
        delivery = DeliveryOut.of(webhook_management.test(unit, caller, webhook_id))
        return once.keep(unit, delivery, status=202, headers={"Location": delivery.links.self})


@router.get(
    "/{webhook_id}/deliveries",
    summary="Deliveries, newest first",
    response_model=DeliveryPage,
    responses=refusals(404, 422),
    dependencies=[IN_TURN],
)
def list_webhook_deliveries(
    *,
    webhook_id: WebhookPath,
    caller: Admin,
    ports: PortsDep,
    state: Annotated[DeliveryState | None, Query(description="`failed`: the dead-letter list.")] = None,
    after: After = None,
    limit: Limit = DEFAULT_PAGE,
) -> Response:
    """With each message and the result of its last try."""
    with ports.database.unit_of_work(caller.project_id) as unit:
        unit.webhooks.get(caller.project_id, webhook_id)
        rows, has_more = unit.webhooks.deliveries(caller.project_id, webhook_id, after, limit, state=state)
    return json_answer(page_of(DeliveryPage, map(DeliveryOut.of, rows), has_more))


@router.get(
    "/{webhook_id}/deliveries/{delivery_id}",
    summary="The state of a delivery",
    response_model=DeliveryOut,
    responses=refusals(404),
)
def get_webhook_delivery(
    webhook_id: WebhookPath, delivery_id: DeliveryPath, caller: Admin, ports: PortsDep
) -> Response:
    """The result of the last try, and the time of the next one."""
    with ports.database.unit_of_work(caller.project_id) as unit:
        row = unit.webhooks.delivery(caller.project_id, webhook_id, delivery_id)
    return json_answer(DeliveryOut.of(row))


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/replay",
    summary="Send a message again",
    status_code=202,
    response_model=DeliveryOut,
    responses=refusals(404, 409),
)
def replay_webhook_delivery(
    webhook_id: WebhookPath, delivery_id: DeliveryPath, caller: Admin, ports: PortsDep, once: OnceDep
) -> Response:
    """At once, and with all its tries again. The message id is the same, so that a receiver can ignore
    a repeated message."""
    with ports.database.unit_of_work(caller.project_id) as unit:
        if (answer := once.seen(unit, caller)) is not None:
            return answer
        delivery = DeliveryOut.of(webhook_management.replay(unit, caller, webhook_id, delivery_id))
        return once.keep(unit, delivery, status=202, headers={"Location": delivery.links.self})
