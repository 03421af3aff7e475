"""Webhooks of the project: make, change, rotate, test, delete; deliveries and replays. Needs scope admin.

What receives the messages verifies them with `cleanclip.webhook_verification`.
"""

from collections.abc import Sequence
from typing import Any

from cleanclip.aio.wire import Wire
from cleanclip.errors import UnexpectedAnswer
from cleanclip.models import Page
from cleanclip.webhook_models import IssuedWebhook, Webhook, WebhookDelivery


class Webhooks:
    """`client.webhooks`. Every call raises ApiError, TransportError."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def create(
        self, url: str, *, events: Sequence[str] | None = None, idempotency_key: str | None = None
    ) -> IssuedWebhook:
        """Have messages sent to an https address; all events unless given. The secret is in `secret`, this
        once.

        Raises UnexpectedAnswer where the webhook was made but the answer that held its secret was lost.

        Example:
            made = await client.webhooks.create("https://example.org/hooks", events=["job.failed"])
            print(made.secret)
        """
        body: dict[str, Any] = {"url": url}
        if events is not None:
            body["events"] = [*events]
        return await self._issued("/v1/webhooks", body, idempotency_key)

    async def get(self, webhook_id: str) -> Webhook:
        """Its address and state.

        Example:
            print((await client.webhooks.get(webhook.id)).state)
        """
        return await self._wire.get(Webhook, f"/v1/webhooks/{webhook_id}")

    async def list(self, *, after: str | None = None, limit: int | None = None) -> Page[Webhook]:
        """One page, newest first; disabled ones too.

        Example:
            for found in (await client.webhooks.list()).data:
                print(found.id, found.events, found.state)
        """
        return await self._wire.get(Page[Webhook], "/v1/webhooks", {"after": after, "limit": limit})

    async def update(
        self,
        webhook_id: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        enabled: bool | None = None,
    ) -> Webhook:
        """Change what is given, leave the rest.

        Example:
            webhook = await client.webhooks.update(webhook.id, enabled=True)
        """
        wanted = {"url": url, "events": None if events is None else [*events], "enabled": enabled}
        body = {name: value for name, value in wanted.items() if value is not None}
        return await self._wire.patch(Webhook, f"/v1/webhooks/{webhook_id}", body)

    async def delete(self, webhook_id: str) -> None:
        """With its deliveries, at once.

        Example:
            await client.webhooks.delete(webhook.id)
        """
        await self._wire.delete(f"/v1/webhooks/{webhook_id}")

    async def rotate_secret(
        self, webhook_id: str, *, overlap_s: int | None = None, idempotency_key: str | None = None
    ) -> IssuedWebhook:
        """A new secret; the old one signs beside it for `overlap_s`, a day unless given; 0: no longer.

        Raises as `create`.

        Example:
            made = await client.webhooks.rotate_secret(webhook.id, overlap_s=3600)
            print(made.secret)
        """
        body = {} if overlap_s is None else {"overlap_s": overlap_s}
        return await self._issued(f"/v1/webhooks/{webhook_id}/rotate-secret", body, idempotency_key)

    async def test(self, webhook_id: str, *, idempotency_key: str | None = None) -> WebhookDelivery:
        """Queue a message that says only that it is a test; `delivery` tells how it went.

        Example:
            delivery = await client.webhooks.test(webhook.id)
            print(delivery.state)
        """
        path = f"/v1/webhooks/{webhook_id}/test"
        return await self._wire.post(WebhookDelivery, path, idempotency_key=idempotency_key)

    async def deliveries(
        self, webhook_id: str, *, state: str | None = None, after: str | None = None, limit: int | None = None
    ) -> Page[WebhookDelivery]:
        """One page, newest first. `state`: pending, delivered or failed (the dead-letter list).

        Example:
            for found in (await client.webhooks.deliveries(webhook.id, state="pending")).data:
                print(found.event, found.num_tries, found.last_try)
        """
        query = {"state": state, "after": after, "limit": limit}
        return await self._wire.get(Page[WebhookDelivery], f"/v1/webhooks/{webhook_id}/deliveries", query)

    async def delivery(self, webhook_id: str, delivery_id: str) -> WebhookDelivery:
        """How it stands.

        Example:
            print((await client.webhooks.delivery(webhook.id, delivery.id)).last_try)
        """
        return await self._wire.get(WebhookDelivery, f"/v1/webhooks/{webhook_id}/deliveries/{delivery_id}")

    async def replay(
        self, webhook_id: str, delivery_id: str, *, idempotency_key: str | None = None
    ) -> WebhookDelivery:
        """Send a message again, in whatever state it is; its id stays the same.

        Example:
            delivery = await client.webhooks.replay(webhook.id, delivery.id)
        """
        path = f"/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/replay"
        return await self._wire.post(WebhookDelivery, path, idempotency_key=idempotency_key)

    async def _issued(self, path: str, body: dict[str, Any], idempotency_key: str | None) -> IssuedWebhook:
        issued = await self._wire.post(IssuedWebhook, path, body, idempotency_key=idempotency_key)
        if issued.secret is None:
            raise UnexpectedAnswer(
                f"The webhook {issued.id} has a new secret, but the answer that held it was "
                "lost, and a secret is shown only once: rotate it with overlap_s 0."
            )
        return issued
