"""`webhooks …`: send messages about what happens, and see how they were delivered."""

from typing import Annotated

import typer

from cleanclip.command.commands import Commands
from cleanclip.command.formats import fields, table, when
from cleanclip.command.listing import AfterOption, LimitOption, StateOption
from cleanclip.command.output import Output
from cleanclip.command.session import JsonFlag, session_of
from cleanclip.webhook_models import IssuedWebhook, Webhook, WebhookDelivery

WebhookId = Annotated[str, typer.Argument(metavar="WEBHOOK", help="Its id, wh_…")]
DeliveryId = Annotated[str, typer.Argument(metavar="DELIVERY", help="Its id, whd_…")]
EventOption = Annotated[
    list[str] | None,
    typer.Option("--event", help="An event such as job.succeeded; repeatable. Default: all."),
]

webhooks = Commands(
    no_args_is_help=True,
    help="Messages to your own server when jobs end (Standard Webhooks). Needs a key with scope admin.",
)


@webhooks.command("create")
def create_webhook(
    context: typer.Context,
    *,
    url: Annotated[str, typer.Argument(help="https:// address of a public server.")],
    event: EventOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Create a webhook and print its secret. It cannot be shown again.

    Example: cleanclip webhooks create https://example.org/hooks --event job.succeeded --event job.failed
    """
    with session_of(context).client() as client:
        found = client.webhooks.create(url, events=event or None)
    _show_issued(Output(is_json=as_json), found)


@webhooks.command("ls")
def list_webhooks(
    context: typer.Context, *, limit: LimitOption = 20, after: AfterOption = None, as_json: JsonFlag = False
) -> None:
    """List webhooks, newest first, disabled ones too.

    Example: cleanclip webhooks ls
    """
    with session_of(context).client() as client:
        page = client.webhooks.list(limit=limit, after=after)
    rows = [(one.id, _state(one), one.url, ", ".join(one.events)) for one in page.data]
    Output(is_json=as_json).result(page.to_json(), table(("WEBHOOK", "STATE", "URL", "EVENTS"), rows))


@webhooks.command("show")
def show_webhook(context: typer.Context, webhook: WebhookId, as_json: JsonFlag = False) -> None:
    """Show a webhook's address and state.

    Example: cleanclip webhooks show wh_…
    """
    with session_of(context).client() as client:
        found = client.webhooks.get(webhook)
    Output(is_json=as_json).result(found.to_json(), _webhook_text(found))


@webhooks.command("update")
def update_webhook(
    context: typer.Context,
    *,
    webhook: WebhookId,
    url: Annotated[str | None, typer.Option(help="The new address; waiting messages go there, too.")] = None,
    event: EventOption = None,
    enable: Annotated[
        bool | None,
        typer.Option("--enable/--disable", help="While disabled, nothing is sent and nothing is queued."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Change a webhook's address or events, disable or enable it.

    Example: cleanclip webhooks update wh_… --disable
    """
    with session_of(context).client() as client:
        found = client.webhooks.update(webhook, url=url, events=event or None, enabled=enable)
    Output(is_json=as_json).result(found.to_json(), _webhook_text(found))


@webhooks.command("rotate-secret")
def rotate_secret(
    context: typer.Context,
    *,
    webhook: WebhookId,
    overlap_hours: Annotated[
        float | None,
        typer.Option(min=0, max=720, help="How long the old secret still signs. Default: a day."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Replace the secret: print a new one. It cannot be shown again.

    Example: cleanclip webhooks rotate-secret wh_… --overlap-hours 1
    """
    overlap_s = None if overlap_hours is None else round(overlap_hours * 3600)
    with session_of(context).client() as client:
        found = client.webhooks.rotate_secret(webhook, overlap_s=overlap_s)
    _show_issued(Output(is_json=as_json), found)


@webhooks.command("rm")
def remove_webhook(context: typer.Context, webhook: WebhookId, as_json: JsonFlag = False) -> None:
    """Delete a webhook and its deliveries.

    Example: cleanclip webhooks rm wh_…
    """
    with session_of(context).client() as client:
        client.webhooks.delete(webhook)
    Output(is_json=as_json).result({"deleted": webhook}, f"{webhook} is deleted.")


@webhooks.command("test")
def send_test(context: typer.Context, webhook: WebhookId, as_json: JsonFlag = False) -> None:
    """Send a test message; `deliveries` shows the result.

    Example: cleanclip webhooks test wh_…
    """
    with session_of(context).client() as client:
        found = client.webhooks.test(webhook)
    Output(is_json=as_json).result(found.to_json(), _delivery_text(found))


@webhooks.command("deliveries")
def list_deliveries(
    context: typer.Context,
    *,
    webhook: WebhookId,
    state: StateOption = None,
    limit: LimitOption = 20,
    after: AfterOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List deliveries, newest first; with --state failed those that were given up.

    Example: cleanclip webhooks deliveries wh_… --state failed
    """
    with session_of(context).client() as client:
        page = client.webhooks.deliveries(webhook, state=state, limit=limit, after=after)
    rows = [
        (
            *(one.id, one.event, one.data.get("id", "-"), one.state, one.num_tries),
            *(_last_try(one), when(one.next_try_at)),
        )
        for one in page.data
    ]
    head = ("DELIVERY", "EVENT", "ABOUT", "STATE", "TRIES", "LAST TRY", "NEXT TRY")
    Output(is_json=as_json).result(page.to_json(), table(head, rows))


@webhooks.command("replay")
def replay_delivery(
    context: typer.Context, *, webhook: WebhookId, delivery: DeliveryId, as_json: JsonFlag = False
) -> None:
    """Send a message again, whether it arrived or not.

    Example: cleanclip webhooks replay wh_… whd_…
    """
    with session_of(context).client() as client:
        found = client.webhooks.replay(webhook, delivery)
    Output(is_json=as_json).result(found.to_json(), _delivery_text(found))


def _show_issued(output: Output, issued: IssuedWebhook) -> None:
    output.note(f"{issued.id} to {issued.url}. The secret is shown only once:")
    output.result(issued.to_json(), issued.secret or "")


def _state(webhook: Webhook) -> str:
    return (
        webhook.state if webhook.disabled_reason is None else f"{webhook.state} ({webhook.disabled_reason})"
    )


def _webhook_text(webhook: Webhook) -> str:
    return fields(
        [
            ("webhook", webhook.id),
            ("url", webhook.url),
            ("events", ", ".join(webhook.events)),
            ("state", _state(webhook)),
            ("failing since", when(webhook.failing_since) if webhook.failing_since else None),
            (
                "old secret until",
                when(webhook.previous_secret_ends_at) if webhook.previous_secret_ends_at else None,
            ),
            ("changed", when(webhook.updated_at)),
        ]
    )


def _last_try(delivery: WebhookDelivery) -> str:
    if delivery.last_try is None:
        return "-"
    return str(delivery.last_try.status or delivery.last_try.error)


def _delivery_text(delivery: WebhookDelivery) -> str:
    return f"{delivery.id} {delivery.event} {delivery.state}, next try {when(delivery.next_try_at)}"
