"""Deliveries of a webhook: shown, sent again, and a test message."""

from typing import Annotated

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.domain.webhook_messages import DeliveryState
from app.live.ports import PortsDep
from app.services import webhook_management
from app.web.kit.addresses import EMPTY_IS_NONE, Cursor, DeliveryPath, WebhookPath
from app.web.kit.rendering import see_other
from app.web.kit.visitor import Admin, FormDep
from app.web.project.webhook_page import HERE, show_webhook_page

router = APIRouter()


@router.get("/webhooks/{webhook_id}")
def show_webhook(
    *,
    webhook_id: WebhookPath,
    request: Request,
    visitor: Admin,
    ports: PortsDep,
    state: Annotated[DeliveryState | None, EMPTY_IS_NONE] = None,
    after: Cursor = None,
    seen: str = "",
) -> Response:
    """How it stands, and its deliveries, newest first."""
    return show_webhook_page(request, ports, visitor.caller, webhook_id, state=state, after=after, seen=seen)


@router.post("/webhooks/{webhook_id}/test")
def test_webhook(webhook_id: WebhookPath, visitor: Admin, form: FormDep, ports: PortsDep) -> Response:
    """Queues a message that says nothing but that it is a test."""
    del form
    with ports.database.unit_of_work(visitor.caller.project_id) as unit:
        webhook_management.test(unit, visitor.caller, webhook_id)
    return see_other(f"{HERE}/{webhook_id}#deliveries")


@router.post("/webhooks/{webhook_id}/deliveries/{delivery_id}/replay")
def replay_delivery(
    webhook_id: WebhookPath, delivery_id: DeliveryPath, visitor: Admin, form: FormDep, ports: PortsDep
) -> Response:
    """The same message, now, with all its tries before it."""
    del form
    with ports.database.unit_of_work(visitor.caller.project_id) as unit:
        webhook_management.replay(unit, visitor.caller, webhook_id, delivery_id)
    return see_other(f"{HERE}/{webhook_id}#deliveries")
