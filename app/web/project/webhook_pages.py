"""Webhooks of the project: list, make, change, rotate the secret, delete. Scope admin.

A secret is on the page that answers the form, this once (app/web/kit/once.py).
"""

from collections.abc import Sequence

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.db.models.webhook import Webhook
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import Conflict, InvalidInput
from app.domain.webhook_messages import SUBSCRIBABLE, WebhookEvent
from app.edge.error_codes import status_of
from app.live.ports import Ports, PortsDep
from app.services import webhook_management
from app.services.api_keys import Caller
from app.services.webhook_management import WebhookChange
from app.web.kit.addresses import Cursor, WebhookPath, link
from app.web.kit.fields import OVERLAPS, Filled, check_confirmed, form_incomplete, read_choice, refill
from app.web.kit.once import new_once, secret_sending
from app.web.kit.rendering import page, see_other
from app.web.kit.visitor import Admin, Form, FormDep
from app.web.project.webhook_page import HERE, show_webhook_page

PER_PAGE = 50

router = APIRouter()


@router.get("/webhooks")
def show_webhooks(request: Request, visitor: Admin, ports: PortsDep, after: Cursor = None) -> Response:
    """Newest first, disabled ones too; and the form that makes one."""
    return _list(request, ports, visitor.caller, after)


@router.post("/webhooks")
def make_webhook(request: Request, visitor: Admin, form: FormDep, ports: PortsDep) -> Response:
    """Answered by the page that shows the secret."""
    caller = visitor.caller
    try:
        events = _events(form)
        with ports.database.unit_of_work(caller.project_id) as unit:
            sending = secret_sending(unit, caller, form, HERE, ttl_s=ports.settings.api.idempotency_ttl_s)
            if sending.made is not None:
                return _sent_before(request, unit, caller, sending.made)
            row, secret = webhook_management.create(
                unit, caller, ports.webhook_rules, url=form.get("url"), events=events
            )
            sending.done(row.id)
            return _issued(request, row, secret)
    except (InvalidInput, Conflict) as error:
        shown = refill(form, error, boxes="events")
        return _list(request, ports, caller, None, shown=shown, status=status_of(error))


@router.post("/webhooks/{webhook_id}")
def change_webhook(
    *, webhook_id: WebhookPath, request: Request, visitor: Admin, form: FormDep, ports: PortsDep
) -> Response:
    """Where it goes and what is reported to it."""
    caller = visitor.caller
    try:
        wanted = WebhookChange(url=form.get("url"), events=_events(form))
        with ports.database.unit_of_work(caller.project_id) as unit:
            webhook_management.change(unit, caller, ports.webhook_rules, webhook_id, wanted)
    except (InvalidInput, Conflict) as error:
        return show_webhook_page(
            request,
            ports,
            caller,
            webhook_id,
            changing=refill(form, error, boxes="events"),
            status=status_of(error),
        )
    return see_other(f"{HERE}/{webhook_id}")


@router.post("/webhooks/{webhook_id}/enable")
def enable_webhook(webhook_id: WebhookPath, visitor: Admin, form: FormDep, ports: PortsDep) -> Response:
    """What waits is sent."""
    del form
    return _turn(ports, visitor.caller, webhook_id, is_on=True)


@router.post("/webhooks/{webhook_id}/disable")
def disable_webhook(webhook_id: WebhookPath, visitor: Admin, form: FormDep, ports: PortsDep) -> Response:
    """Nothing new is queued; what waits, waits on."""
    del form
    return _turn(ports, visitor.caller, webhook_id, is_on=False)


def _turn(ports: Ports, caller: Caller, webhook_id: str, *, is_on: bool) -> Response:
    with ports.database.unit_of_work(caller.project_id) as unit:
        webhook_management.change(unit, caller, ports.webhook_rules, webhook_id, WebhookChange(enabled=is_on))
    return see_other(f"{HERE}/{webhook_id}")


@router.post("/webhooks/{webhook_id}/rotate-secret")
def rotate_secret(
    *, webhook_id: WebhookPath, request: Request, visitor: Admin, form: FormDep, ports: PortsDep
) -> Response:
    """Answered by the page that shows the new secret."""
    caller, path = visitor.caller, f"{HERE}/{webhook_id}/rotate-secret"
    try:
        overlap_s = float(read_choice(form, "overlap_s", OVERLAPS))
        with ports.database.unit_of_work(caller.project_id) as unit:
            sending = secret_sending(unit, caller, form, path, ttl_s=ports.settings.api.idempotency_ttl_s)
            if sending.made is not None:
                return _sent_before(request, unit, caller, sending.made)
            row, secret = webhook_management.rotate_secret(
                unit, caller, ports.webhook_rules, webhook_id, overlap_s=overlap_s
            )
            sending.done(row.id)
            return _issued(request, row, secret)
    except (InvalidInput, Conflict) as error:
        return show_webhook_page(
            request, ports, caller, webhook_id, rotating=refill(form, error), status=status_of(error)
        )


@router.post("/webhooks/{webhook_id}/delete")
def delete_webhook(
    *, webhook_id: WebhookPath, request: Request, visitor: Admin, form: FormDep, ports: PortsDep
) -> Response:
    """With its deliveries."""
    caller = visitor.caller
    try:
        check_confirmed(form)
        with ports.database.unit_of_work(caller.project_id) as unit:
            webhook_management.delete(unit, caller, webhook_id)
    except InvalidInput as error:
        return show_webhook_page(
            request, ports, caller, webhook_id, deleting=refill(form, error), status=status_of(error)
        )
    return see_other(HERE)


def _events(form: Form) -> Sequence[WebhookEvent]:
    """Raises InvalidInput."""
    chosen = set(form.all("events"))
    if not chosen:
        raise form_incomplete("events", "No event is chosen.", "Choose its events, or disable it.")
    if unknown := chosen - {event.value for event in SUBSCRIBABLE}:
        raise form_incomplete(
            "events", f"There is no event {min(unknown)[:60]!r}.", "Choose one of the list."
        )
    return [event for event in SUBSCRIBABLE if event.value in chosen]


def _list(
    request: Request,
    ports: Ports,
    caller: Caller,
    after: str | None,
    *,
    shown: Filled | None = None,
    status: int = 200,
) -> Response:
    with ports.database.unit_of_work(caller.project_id) as unit:
        rows, has_more = unit.webhooks.page(caller.project_id, after, PER_PAGE)
    return page(
        request,
        "webhooks.html",
        status,
        webhooks=rows,
        older=link(HERE, {}, after=rows[-1].id) if has_more else None,
        newest=HERE if after else None,
        form=shown or Filled(chosen=frozenset(event.value for event in SUBSCRIBABLE)),
        events=SUBSCRIBABLE,
        is_off=ports.webhook_rules.sealer is None,
        once=new_once(),
    )


def _issued(request: Request, row: Webhook, secret: str) -> Response:
    return page(request, "webhook_secret.html", 201, webhook=row, secret_text=secret)


def _sent_before(request: Request, unit: UnitOfWork, caller: Caller, webhook_id: str) -> Response:
    row = unit.webhooks.get(caller.project_id, webhook_id)
    return page(request, "webhook_secret.html", webhook=row, secret_text=None)
