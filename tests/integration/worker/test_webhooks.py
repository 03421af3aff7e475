"""Webhooks from what happens to what arrives: real database, real receiver, the deliverer in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks.webhooks import WebhookVerificationError

from app.db.repositories.attempt_values import DatasetReady
from app.db.session import Database
from app.domain.states import DatasetKind, JobState
from app.domain.webhook_signing import new_secret
from app.domain.webhooks import (
    MAX_TRIES,
    WAITS_S,
    DeliveryError,
    DeliveryState,
    DisabledReason,
    WebhookEvent,
    WebhookState,
)
from tests.fakes.webhook_receiver import Message, Receiver, answering
from tests.integration.worker.subscribed import (
    SEALER,
    deliverer,
    deliveries,
    execute,
    happen,
    make_due,
    queued_job,
    subscribe,
    webhook,
)
from tests.integration.worker.world import World

ONLY_CANCELLED = (WebhookEvent.JOB_CANCELLED,)
ERROR = {"code": "child_crashed", "message": "It ended.", "remedy": "Look.", "retryable": False}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def quiet(world: World) -> None:
    """Webhooks of other tests wait for nobody."""
    execute(world, "UPDATE webhooks SET state = 'disabled'")


def said(receiver: Receiver) -> list[tuple[str, str, str]]:
    """(type, object, id) of every message, in the order in which they came."""
    bodies = [json.loads(message.body) for message in receiver.messages]
    return [(body["type"], body["data"]["object"], body["data"]["id"]) for body in bodies]


# ---------------------------------------------------------------- what is told


def finish(world: World, job_id: str, **values: Any) -> None:
    with world.database.unit_of_work() as unit:
        claimed = unit.attempts.claim(job_id, owner="by hand", lease_s=60)
        assert claimed is not None
        if "error" in values:
            unit.attempts.finish_failed(job_id, claimed.attempt, **values)
        else:
            unit.attempts.finish_succeeded(job_id, claimed.attempt, result={}, **values)


def test_every_end_of_a_job_a_checkpoint_and_a_data_set_is_told_and_signed(
    world: World, receiver: Receiver
) -> None:
    webhook_id, secret = subscribe(world, receiver.url)
    accepted = world.accepted_checkpoint()
    rejected, inspection = world.checkpoint()
    finish(world, inspection.id, error=ERROR)
    ready, validation = world.dataset(DatasetKind.PAIRS, {"0.tar": b"shard"})
    finish(world, validation.id, effect=DatasetReady(files=[], summary={}))
    useless, other_validation = world.dataset(DatasetKind.LABELLED, {"0.tar": b"shard"})
    with world.hands.unit_of_work() as unit:
        unit.jobs.request_cancel(world.project_id, other_validation.id)
    jobs = [queued_job(world) for _ in range(3)]
    finish(world, jobs[0])
    finish(world, jobs[1], error=ERROR)
    with world.hands.unit_of_work() as unit:
        unit.jobs.request_cancel(world.project_id, jobs[2])
    assert deliverer(world.database).deliver_due() == 7
    assert said(receiver) == [
        ("checkpoint.accepted", "checkpoint", accepted),
        ("checkpoint.rejected", "checkpoint", rejected.id),
        ("dataset.ready", "dataset", ready.id),
        ("dataset.rejected", "dataset", useless.id),
        ("job.succeeded", "job", jobs[0]),
        ("job.failed", "job", jobs[1]),
        ("job.cancelled", "job", jobs[2]),
    ]
    for message in receiver.messages:
        verified = message.verified(secret)
        assert verified["data"]["links"]["self"].endswith(f"/{verified['data']['id']}")
        age = datetime.now(UTC) - datetime.fromisoformat(verified["timestamp"])
        assert timedelta(0) <= age < timedelta(minutes=1)
    assert len({message.id for message in receiver.messages}) == 7
    assert all(row.state is DeliveryState.DELIVERED for row in deliveries(world, webhook_id))


def test_a_job_that_a_real_runner_finishes_is_told(world: World, receiver: Receiver) -> None:
    job = world.audit_job()
    _, secret = subscribe(world, receiver.url)
    assert world.start(job.id).join() is JobState.SUCCEEDED
    deliverer(world.database).deliver_due()
    (message,) = receiver.messages
    assert message.verified(secret)["data"] == {
        "object": "job",
        "id": job.id,
        "kind": "audit",
        "state": "succeeded",
        "links": {"self": f"/v1/jobs/{job.id}"},
    }


def test_nothing_is_told_that_was_rolled_back(world: World, receiver: Receiver) -> None:
    webhook_id, _ = subscribe(world, receiver.url)
    job_id = queued_job(world)

    def break_off() -> None:
        with world.hands.unit_of_work() as unit:
            unit.jobs.request_cancel(world.project_id, job_id)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert deliveries(world, webhook_id) == []
    assert world.job(job_id).state is JobState.QUEUED


def test_only_enabled_webhooks_of_the_project_are_told_and_only_what_they_asked_for(
    world: World, receiver: Receiver, database: Database, hands: Database
) -> None:
    stranger = World(database, world.store, world.folder, hands=hands)
    theirs, _ = subscribe(stranger, receiver.url)
    disabled, _ = subscribe(world, receiver.url, state=WebhookState.DISABLED)
    wanting, _ = subscribe(world, receiver.url, ONLY_CANCELLED)
    others, _ = subscribe(world, receiver.url, (WebhookEvent.JOB_FAILED, WebhookEvent.DATASET_READY))
    (job_id,) = happen(world)
    assert [len(deliveries(world, one)) for one in (disabled, wanting, others)] == [0, 1, 0]
    assert deliveries(stranger, theirs) == []
    assert deliveries(world, wanting)[0].subject_id == job_id


def test_two_webhooks_get_the_same_message(world: World, receiver: Receiver) -> None:
    secrets = dict(subscribe(world, receiver.url + name, ONLY_CANCELLED) for name in ("1", "2"))
    happen(world)
    assert deliverer(world.database).deliver_due() == 2
    one, other = receiver.messages
    assert (one.id, one.body) == (other.id, other.body)
    assert one.headers["webhook-signature"] != other.headers["webhook-signature"]
    for secret in secrets.values():
        verified = [message for message in (one, other) if _verifies(message, secret)]
        assert len(verified) == 1


def _verifies(message: Message, secret: str) -> bool:
    try:
        message.verified(secret)
    except WebhookVerificationError:
        return False
    return True


# ---------------------------------------------------------------- what fails


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
        (entry,), _ = unit.audit.page(world.project_id, None, 10, action="webhook.disable")
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
    assert not _verifies(receiver.messages[1], old)
