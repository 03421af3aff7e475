"""The page of one webhook: how it stands, its forms, its deliveries."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from fastapi import Request
from starlette.responses import Response

from app.db.models.webhook import WebhookDelivery
from app.domain.webhook_messages import SUBSCRIBABLE, DeliveryState, WebhookState
from app.live.ports import Ports
from app.schemas.webhook_shapes import DeliveryOut
from app.services.api_keys import Caller
from app.web.jobs.failures import is_partial
from app.web.kit.addresses import link, seen_mark
from app.web.kit.fields import OVERLAPS, Filled
from app.web.kit.once import new_once
from app.web.kit.rendering import page

HERE = "/ui/webhooks"
PER_PAGE = 25
SOON = timedelta(minutes=1)


def show_webhook_page(
    request: Request,
    ports: Ports,
    caller: Caller,
    webhook_id: str,
    *,
    state: DeliveryState | None = None,
    after: str | None = None,
    seen: str = "",
    changing: Filled | None = None,
    rotating: Filled | None = None,
    deleting: Filled | None = None,
    status: int = 200,
) -> Response:
    """With a form's refusal where one was. Asked for by a page that shows it: its deliveries, or 204 where
    they are as `seen`."""
    with ports.database.unit_of_work(caller.project_id) as unit:
        row = unit.webhooks.get(caller.project_id, webhook_id)
        rows, has_more = unit.webhooks.deliveries(caller.project_id, webhook_id, after, PER_PAGE, state=state)
    here = f"{HERE}/{webhook_id}"
    query = {"state": state or "", "after": after or ""}
    shown = _digest(rows, has_more=has_more)
    if is_partial(request) and seen == shown:
        return Response(status_code=204)
    is_awaited = row.state is WebhookState.ENABLED and any(_is_due_soon(one) for one in rows)
    return page(
        request,
        "webhook_deliveries.html" if is_partial(request) else "webhook.html",
        status,
        webhook=row,
        deliveries=[DeliveryOut.of(one) for one in rows],
        state=state,
        states=list(DeliveryState),
        older=link(here, query, after=rows[-1].id) if has_more else None,
        newest=link(here, {"state": state or ""}) if after else None,
        again=link(here, query, seen=shown) if is_awaited else None,
        changing=changing or Filled(values={"url": row.url}, chosen=frozenset(row.events)),
        rotating=rotating or Filled(values={"overlap_s": "86400"}),
        deleting=deleting or Filled(),
        events=SUBSCRIBABLE,
        overlaps=OVERLAPS,
        is_off=ports.webhook_rules.sealer is None,
        is_rotating=row.previous_ends_at is not None and row.previous_ends_at > datetime.now(UTC),
        once=new_once(),
    )


def _is_due_soon(row: WebhookDelivery) -> bool:
    return row.state is DeliveryState.PENDING and row.due_at <= datetime.now(UTC) + SOON


def _digest(rows: Sequence[WebhookDelivery], *, has_more: bool) -> str:
    """Changes with whatever the table shows."""
    return seen_mark(has_more, [(row.id, row.state, row.num_tries, row.tried_at, row.due_at) for row in rows])
