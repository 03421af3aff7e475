"""What becomes of messages that cannot be delivered: tried again, given up, replayed; webhooks disabled."""

from datetime import UTC, datetime, timedelta

import pytest

from app.domain.webhook_messages import (
    MAX_TRIES,
    WAITS_S,
    DeliveryError,
    DeliveryState,
    DisabledReason,
    WebhookState,
    new_secret,
)
from tests.fakes.webhook_receiver import Receiver, answering
from tests.integration.worker.subscribed import (
    ONLY_CANCELLED,
    SEALER,
    deliverer,
    deliveries,
    execute,
    happen,
    make_due,
    subscribe,
    webhook,
)
from tests.integration.worker.world import World

pytestmark = pytest.mark.usefixtures("quiet")


def test_a_delivery_is_tried_for_three_days_and_is_then_on_the_dead_letter_list(
    world: World, receiver: Receiver
) -> None:
    webhook_id, secret = subscribe(world, receiver.url, ONLY_CANCELLED)
    receiver.behaves(answering(500, b"out of order"))
    happen(world)
    sender = deliverer(world.database)
    for num, wait_s in enumerate(WAITS_S, start=1):
        before = datetime.now(UTC)
        assert sender.deliver_due() == 1
        assert sender.deliver_due() == 0, "not before its time"
        (row,) = deliveries(world, webhook_id)
        assert (row.state, row.num_tries, row.status) == (DeliveryState.PENDING, num, 500)
        assert (row.error, row.excerpt) == (DeliveryError.REFUSED, "out of order")
        assert 0 <= (row.due_at - before).total_seconds() - wait_s < 5
        make_due(world, webhook_id)
    sender.deliver_due()
    (row,) = deliveries(world, webhook_id)
    assert (row.state, row.num_tries) == (DeliveryState.FAILED, MAX_TRIES)
    make_due(world, webhook_id)
    assert sender.deliver_due() == 0
    assert len(receiver.messages) == MAX_TRIES
    assert len({message.id for message in receiver.messages}) == 1
    assert len({message.body for message in receiver.messages}) == 1
    assert all(message.verified(secret) for message in receiver.messages)

    receiver.behaves(answering(200))
    with world.hands.unit_of_work() as unit:
        unit.webhooks.replay(unit.webhooks.delivery(world.project_id, webhook_id, row.id, for_update=True))
    assert sender.deliver_due() == 1
    (row,) = deliveries(world, webhook_id)
    assert (row.state, row.num_tries, row.attempt, row.error) == (
        DeliveryState.DELIVERED,
        1,
        MAX_TRIES + 1,
        None,
    )
    assert {message.id for message in receiver.messages} == {row.message_id}
    assert webhook(world, webhook_id).failing_since is None


def test_a_server_that_is_gone_is_left_alone_and_the_trail_says_so(world: World, receiver: Receiver) -> None:
    webhook_id, _ = subscribe(world, receiver.url, ONLY_CANCELLED)
    receiver.behaves(answering(410))
    happen(world, times=2)
    assert deliverer(world.database).deliver_due() == 1
    row = webhook(world, webhook_id)
    assert (row.state, row.disabled_reason) == (WebhookState.DISABLED, DisabledReason.GONE)
    states = [delivery.state for delivery in deliveries(world, webhook_id)]
    assert states == [DeliveryState.FAILED, DeliveryState.PENDING]
    happen(world)
    assert len(deliveries(world, webhook_id)) == 2, "nothing new is queued for it"
    with world.hands.unit_of_work() as unit:
        (entry,), _ = unit.trail.page(world.project_id, None, 10, action="webhook.disable")
    assert (entry.target_id, entry.actor, entry.key_id) == (webhook_id, "webhooks", None)


def test_a_webhook_that_failed_for_days_is_disabled_and_one_success_begins_anew(
    world: World, receiver: Receiver
) -> None:
    webhook_id, _ = subscribe(world, receiver.url, ONLY_CANCELLED)
    patient = deliverer(world.database, failing_for_s=5 * 86_400.0)
    receiver.behaves(answering(500))
    happen(world)
    patient.deliver_due()
    since = webhook(world, webhook_id).failing_since
    assert since is not None
    execute(
        world, "UPDATE webhooks SET failing_since = now() - interval '4 days' WHERE id = :id", id=webhook_id
    )
    make_due(world, webhook_id)
    patient.deliver_due()
    assert webhook(world, webhook_id).state is WebhookState.ENABLED
    execute(
        world, "UPDATE webhooks SET failing_since = now() - interval '6 days' WHERE id = :id", id=webhook_id
    )
    receiver.behaves(answering(200))
    make_due(world, webhook_id)
    patient.deliver_due()
    assert webhook(world, webhook_id).failing_since is None
    receiver.behaves(answering(500))
    happen(world)
    execute(
        world, "UPDATE webhooks SET failing_since = now() - interval '6 days' WHERE id = :id", id=webhook_id
    )
    patient.deliver_due()
    row = webhook(world, webhook_id)
    assert (row.state, row.disabled_reason) == (WebhookState.DISABLED, DisabledReason.FAILING)


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("https://10.0.0.1/", DeliveryError.URL_REFUSED),
        ("https://no-such-name.invalid/", DeliveryError.NO_PUBLIC_ADDRESS),
        ("http://127.0.0.1:1/", DeliveryError.NO_CONNECTION),
    ],
)
def test_what_cannot_be_reached_is_a_failure_as_any_other(
    world: World, url: str, error: DeliveryError
) -> None:
    webhook_id, _ = subscribe(world, url, ONLY_CANCELLED)
    happen(world)
    assert deliverer(world.database).deliver_due() == 1
    (row,) = deliveries(world, webhook_id)
    assert (row.state, row.error, row.status, row.excerpt) == (DeliveryState.PENDING, error, None, None)


def test_a_secret_that_no_key_opens_sends_nothing_and_is_told(world: World, receiver: Receiver) -> None:
    webhook_id, _ = subscribe(world, receiver.url, ONLY_CANCELLED)
    execute(world, "UPDATE webhooks SET sealed_secret = 'gAAAA' WHERE id = :id", id=webhook_id)
    happen(world)
    deliverer(world.database).deliver_due()
    assert receiver.messages == []
    assert deliveries(world, webhook_id)[0].error is DeliveryError.SECRET_UNREADABLE


def test_while_secrets_change_both_sign_and_then_one(world: World, receiver: Receiver) -> None:
    old = new_secret()
    webhook_id, new = subscribe(
        world,
        receiver.url,
        ONLY_CANCELLED,
        sealed_previous_secret=SEALER.seal(old),
        previous_ends_at=datetime.now(UTC) + timedelta(hours=1),
    )
    happen(world)
    deliverer(world.database).deliver_due()
    assert receiver.messages[0].verified(old) == receiver.messages[0].verified(new)
    execute(world, "UPDATE webhooks SET previous_ends_at = now() WHERE id = :id", id=webhook_id)
    happen(world)
    deliverer(world.database).deliver_due()
    assert receiver.messages[1].verified(new)
    assert not receiver.messages[1].is_signed_with(old)
