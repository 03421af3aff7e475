"""Who sends what: several deliverers, slow servers, lost ones; nothing twice at once, nothing forgotten."""

import threading
import time
from collections import Counter
from datetime import UTC, datetime

import pytest

from app.db.session import Database
from app.domain.deletions import DeletionReason, DeletionSubject
from app.domain.ids import lowest_id
from app.domain.webhook_messages import MAX_TRIES, Answer, DeliveryError, DeliveryState
from tests.fakes.webhook_receiver import Handler, Receiver, answering, sleeping
from tests.integration.worker.subscribed import (
    ONLY_CANCELLED,
    claim,
    deliverer,
    deliveries,
    execute,
    happen,
    make_due,
    subscribe,
    webhook,
)
from tests.integration.worker.world import World, wait_until
from worker.sweeper import SweepOptions, sweep_once

pytestmark = pytest.mark.usefixtures("quiet")

DONE = Answer(error=None, status=200)


def test_several_deliverers_send_each_message_once_and_to_each_webhook_one_at_a_time(
    world: World, receiver: Receiver
) -> None:
    ids = [subscribe(world, f"{receiver.url}/{number}", ONLY_CANCELLED)[0] for number in range(3)]
    receiver.behaves(sleeping(0.02))
    happen(world, times=8)
    ended = threading.Event()
    crew = [deliverer(world.database, max_parallel=4) for _ in range(3)]
    threads = [threading.Thread(target=one.run, args=(ended,)) for one in crew]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(receiver.messages) >= 24)
    time.sleep(0.3)
    ended.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    reported = Counter((message.path, message.id) for message in receiver.messages)
    assert (len(reported), set(reported.values())) == (24, {1})
    for webhook_id in ids:
        rows = deliveries(world, webhook_id)
        assert [(row.state, row.attempt) for row in rows] == [(DeliveryState.DELIVERED, 1)] * 8
        path = f"/hook/{ids.index(webhook_id)}"
        came = [message.id for message in receiver.messages if message.path == path]
        assert came == [row.message_id for row in rows], "in the order in which it happened"
    assert 2 <= receiver.most_at_once <= 3, "each webhook one at a time, all of them beside each other"


def test_a_slow_server_with_much_that_waits_holds_up_nobody_else(world: World, receiver: Receiver) -> None:
    let_go = threading.Event()

    def answer_when_told(handler: Handler) -> None:
        let_go.wait(30)
        handler.answer(204)

    with Receiver() as slow:
        slow.behaves(answer_when_told)
        slow_id, _ = subscribe(world, slow.url, ONLY_CANCELLED)
        subscribe(world, receiver.url, ONLY_CANCELLED)
        happen(world, times=6)
        ended = threading.Event()
        one = deliverer(world.database, max_parallel=2, timeout_s=25.0)
        thread = threading.Thread(target=one.run, args=(ended,))
        thread.start()
        wait_until(lambda: len(receiver.messages) == 6, 20)
        assert len(slow.messages) == 1
        assert {row.attempt for row in deliveries(world, slow_id)} <= {0, 1}
        assert {row.state for row in deliveries(world, slow_id)} == {DeliveryState.PENDING}
        ended.set()
        let_go.set()
        thread.join(10)


def test_with_one_place_the_webhook_served_longest_ago_comes_next(world: World, receiver: Receiver) -> None:
    for name in "abc":
        subscribe(world, f"{receiver.url}/{name}", ONLY_CANCELLED)
    happen(world, times=2)
    deliverer(world.database, max_parallel=1).deliver_due()
    assert [message.path[-1] for message in receiver.messages] == [*"abcabc"]


# ---------------------------------------------------------------- lost deliverers


def test_what_a_lost_deliverer_had_claimed_is_sent_by_another_once_the_claim_ran_out(
    world: World, receiver: Receiver
) -> None:
    webhook_id, _ = subscribe(world, receiver.url, ONLY_CANCELLED)
    happen(world, times=2)
    lost = claim(world.database)
    other = deliverer(world.database)
    assert other.deliver_due() == 0, "nothing of this webhook, as long as the claim holds"
    execute(world, "UPDATE webhooks SET busy_until = now() WHERE id = :id", id=webhook_id)
    assert other.deliver_due() == 2
    assert receiver.messages[0].id == lost.message_id
    rows = deliveries(world, webhook_id)
    assert [(row.state, row.attempt) for row in rows] == [
        (DeliveryState.DELIVERED, 2),
        (DeliveryState.DELIVERED, 1),
    ]


def test_what_a_lost_deliverer_has_to_say_later_is_not_written(world: World, receiver: Receiver) -> None:
    webhook_id, _ = subscribe(world, receiver.url, ONLY_CANCELLED)
    happen(world)
    late = claim(world.database, lease_s=0.0)
    newer = claim(world.database, lease_s=60.0)
    assert (late.id, late.attempt, newer.attempt) == (newer.id, 1, 2)
    with world.database.unit_of_work() as unit:
        failed = Answer(error=DeliveryError.REFUSED, status=410)
        assert unit.webhook_claims.record(late, failed, wait_s=None, failing_for_s=0.0) is None
    (row,) = deliveries(world, webhook_id)
    assert (row.state, row.status) == (DeliveryState.PENDING, None)
    busy_until = webhook(world, webhook_id).busy_until
    assert busy_until is not None
    assert busy_until > datetime.now(UTC), "the newer claim holds"
    with world.database.unit_of_work() as unit:
        recorded = unit.webhook_claims.record(newer, DONE, wait_s=None, failing_for_s=0.0)
    assert recorded is DeliveryState.DELIVERED


def test_a_replay_during_the_last_try_outlives_its_failure(world: World, receiver: Receiver) -> None:
    webhook_id, _ = subscribe(world, receiver.url, ONLY_CANCELLED)
    happen(world)
    execute(world, "UPDATE webhook_deliveries SET num_tries = 9 WHERE webhook_id = :id", id=webhook_id)
    last = claim(world.database)
    assert last.num_tries == MAX_TRIES
    with world.hands.unit_of_work() as unit:
        unit.webhooks.replay(unit.webhooks.delivery(world.project_id, webhook_id, last.id, for_update=True))
    with world.database.unit_of_work() as unit:
        failed = Answer(error=DeliveryError.REFUSED, status=500)
        unit.webhook_claims.record(last, failed, wait_s=None, failing_for_s=1e6)
    assert deliverer(world.database).deliver_due() == 1
    (row,) = deliveries(world, webhook_id)
    assert (row.state, row.num_tries, row.attempt) == (DeliveryState.DELIVERED, 1, 2)


def test_a_delivery_that_kills_every_deliverer_ends_on_the_dead_letter_list(
    world: World, receiver: Receiver
) -> None:
    webhook_id, _ = subscribe(world, receiver.url, ONLY_CANCELLED)
    happen(world)
    for number in range(1, MAX_TRIES + 1):
        assert claim(world.database, lease_s=0.0).num_tries == number
    assert deliverer(world.database).deliver_due() == 0
    (row,) = deliveries(world, webhook_id)
    assert (row.state, row.error) == (DeliveryState.FAILED, DeliveryError.INTERRUPTED)


def test_a_webhook_that_is_deleted_or_disabled_while_it_is_sent_to_is_left_as_it_was_asked(
    world: World, receiver: Receiver
) -> None:
    deleted, _ = subscribe(world, receiver.url, ONLY_CANCELLED)
    happen(world)
    claimed = claim(world.database)
    with world.hands.unit_of_work() as unit:
        unit.webhooks.remove(unit.webhooks.get(world.project_id, deleted, for_update=True))
    with world.database.unit_of_work() as unit:
        assert unit.webhook_claims.record(claimed, DONE, wait_s=None, failing_for_s=0.0) is None
    disabled, _ = subscribe(world, receiver.url, ONLY_CANCELLED)
    happen(world)
    claimed = claim(world.database)
    execute(world, "UPDATE webhooks SET state = 'disabled', disabled_reason = 'requested'")
    with world.database.unit_of_work() as unit:
        gone = Answer(error=DeliveryError.REFUSED, status=410)
        unit.webhook_claims.record(claimed, gone, wait_s=5.0, failing_for_s=0.0)
    assert webhook(world, disabled).disabled_reason == "requested"
    make_due(world, disabled)
    assert deliverer(world.database).deliver_due() == 0


def test_a_job_ends_while_a_webhook_is_being_deleted_and_waits_for_that(
    world: World, receiver: Receiver, hands: Database
) -> None:
    webhook_id, _ = subscribe(world, receiver.url, ONLY_CANCELLED)
    ended = threading.Thread(target=happen, args=(world,))
    with hands.unit_of_work() as unit:
        row = unit.webhooks.get(world.project_id, webhook_id, for_update=True)
        ended.start()
        time.sleep(0.5)
        unit.webhooks.remove(row)
    ended.join(10)
    with hands.unit_of_work() as unit:
        jobs = unit.jobs.listed(world.project_id, unit.jobs.page(world.project_id, None, 10)[0])
        assert [job.state.value for job in jobs] == ["cancelled"]
        assert unit.webhooks.count(world.project_id) == 0


# ---------------------------------------------------------------- what is removed


def num_rows(world: World) -> tuple[int, int]:
    """Webhooks and deliveries of the project."""
    with world.hands.unit_of_work() as unit:
        rows, _ = unit.webhooks.page(world.project_id, None, 100)
        found = [unit.webhooks.deliveries(world.project_id, row.id, None, 100, state=None)[0] for row in rows]
    return len(rows), sum(map(len, found))


def test_old_deliveries_are_removed_by_the_sweeper_whatever_became_of_them(
    world: World, receiver: Receiver
) -> None:
    webhook_id, _ = subscribe(world, receiver.url, ONLY_CANCELLED)
    happen(world, times=2)
    hour_ago = lowest_id("whd", time.time() - 3600)[:14]  # prefix and time
    execute(world, "UPDATE webhook_deliveries SET id = :hour_ago || substr(id, 15)", hour_ago=hour_ago)
    happen(world)
    sweep_once(world.database, world.store, world.publisher, SweepOptions())
    assert num_rows(world) == (1, 3)
    with world.database.unit_of_work() as unit:
        assert unit.webhook_claims.forget_old(1800) >= 2
    assert len(deliveries(world, webhook_id)) == 1
    with world.database.unit_of_work() as unit:
        assert unit.webhook_claims.forget_old(0.0, limit=1) == 1
    assert num_rows(world) == (1, 0)


def test_what_was_told_of_a_job_goes_with_the_job_and_all_of_it_with_the_project(
    world: World, receiver: Receiver
) -> None:
    subscribe(world, receiver.url, ONLY_CANCELLED)
    kept, deleted = happen(world, times=2)
    ask(world, DeletionSubject.JOB, deleted)
    sweep_once(world.database, world.store, world.publisher, SweepOptions(leftovers_after_s=0))
    assert num_rows(world) == (1, 1)
    ask(world, DeletionSubject.PROJECT, world.project_id)
    sweep_once(world.database, world.store, world.publisher, SweepOptions(leftovers_after_s=0))
    assert num_rows(world) == (0, 0)
    assert kept != deleted


def ask(world: World, subject: DeletionSubject, subject_id: str) -> None:
    with world.hands.unit_of_work() as unit:
        unit.deletions.ask(world.project_id, subject, subject_id, reason=DeletionReason.OPERATOR)


def test_a_failure_with_retry_after_is_not_tried_before(world: World, receiver: Receiver) -> None:
    webhook_id, _ = subscribe(world, receiver.url, ONLY_CANCELLED)
    receiver.behaves(answering(429, Retry_After="600"))
    happen(world)
    before = datetime.now(UTC)
    deliverer(world.database).deliver_due()
    (row,) = deliveries(world, webhook_id)
    assert 600 <= (row.due_at - before).total_seconds() < 605
