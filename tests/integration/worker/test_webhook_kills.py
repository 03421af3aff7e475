"""Real deliverers, killed where it hurts: the message comes, and where it came it comes again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from app.domain.webhook_messages import DeliveryState, WebhookEvent
from tests.fakes.webhook_receiver import Handler, Receiver, answering
from tests.fixtures.webhooks import WEBHOOKS_KEY
from tests.integration.worker.subscribed import deliveries, happen, subscribe
from tests.integration.worker.world import World, wait_until

ROOT = Path(__file__).resolve().parents[3]
LEASE_S = 3.0


@contextmanager
def process(
    environment: Mapping[str, str], module: str = "worker.webhooks", **variables: str
) -> Iterator[subprocess.Popen[str]]:
    own = {
        "CLEANCLIP_WEBHOOKS__ENCRYPTION_KEYS": json.dumps([WEBHOOKS_KEY]),
        "CLEANCLIP_WEBHOOKS__ALLOW_LOOPBACK": "true",
        "CLEANCLIP_WEBHOOKS__LEASE_S": str(LEASE_S),
        "CLEANCLIP_WEBHOOKS__TIMEOUT_S": "1.5",
        "CLEANCLIP_WEBHOOKS__POLL_EVERY_S": "0.1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", module],
        cwd=ROOT,
        env={**environment, **own, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_killed_between_claim_and_send_the_message_comes_from_another(
    world: World, receiver: Receiver, service_environment: Mapping[str, str]
) -> None:
    webhook_id, secret = subscribe(world, receiver.url, (WebhookEvent.JOB_CANCELLED,))
    happen(world)
    with process(service_environment, "tests.integration.worker.slow_deliverer") as first:
        assert first.stdout is not None
        word, message_id = first.stdout.readline().split()
        assert word == "claimed"
        os.kill(first.pid, signal.SIGKILL)
        assert first.wait(10) == -signal.SIGKILL
    (row,) = deliveries(world, webhook_id)
    assert (row.state, row.attempt, receiver.messages) == (DeliveryState.PENDING, 1, [])
    with process(service_environment):
        wait_until(lambda: deliveries(world, webhook_id)[0].state is DeliveryState.DELIVERED)
    (message,) = receiver.messages
    assert message.id == message_id == row.message_id
    assert message.verified(secret)["type"] == "job.cancelled"
    assert deliveries(world, webhook_id)[0].attempt == 2


def test_killed_between_send_and_record_the_same_message_comes_again(
    world: World, receiver: Receiver, service_environment: Mapping[str, str]
) -> None:
    webhook_id, secret = subscribe(world, receiver.url, (WebhookEvent.JOB_CANCELLED,))
    with process(service_environment) as first:

        def kill_the_sender(handler: Handler) -> None:
            os.kill(first.pid, signal.SIGKILL)
            first.wait(10)
            handler.answer(200)

        receiver.behaves(kill_the_sender)
        happen(world)
        wait_until(lambda: len(receiver.messages) == 1 and first.poll() is not None)
    assert deliveries(world, webhook_id)[0].state is DeliveryState.PENDING, "nobody told how it ended"
    receiver.behaves(answering(200))
    with process(service_environment), process(service_environment):
        wait_until(lambda: deliveries(world, webhook_id)[0].state is DeliveryState.DELIVERED)
    first_time, again = receiver.messages
    assert (first_time.id, first_time.body) == (again.id, again.body)
    assert first_time.verified(secret) == again.verified(secret)
    assert again.came_at_s - first_time.came_at_s > LEASE_S - 1.5


def test_told_to_stop_it_ends_what_it_has_begun_and_takes_nothing_new(
    world: World, receiver: Receiver, service_environment: Mapping[str, str]
) -> None:
    webhook_id, _ = subscribe(world, receiver.url, (WebhookEvent.JOB_CANCELLED,))
    with process(service_environment) as one:

        def ask_the_sender_to_stop(handler: Handler) -> None:
            one.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            handler.answer(200)

        receiver.behaves(ask_the_sender_to_stop)
        happen(world, times=2)
        assert one.wait(20) == 0
        _, said = one.communicate()
    assert "Traceback" not in said
    states = [row.state for row in deliveries(world, webhook_id)]
    assert states[0] is DeliveryState.DELIVERED
    assert len(receiver.messages) == states.count(DeliveryState.DELIVERED)
    for line in said.splitlines():
        assert receiver.url not in line, "no address of a customer's is in the log"


def test_without_a_key_it_waits_and_sends_nothing(
    world: World, receiver: Receiver, service_environment: Mapping[str, str]
) -> None:
    subscribe(world, receiver.url, (WebhookEvent.JOB_CANCELLED,))
    happen(world)
    with process(service_environment, CLEANCLIP_WEBHOOKS__ENCRYPTION_KEYS="[]") as one:
        assert one.stderr is not None
        assert json.loads(one.stderr.readline())["event"] == "webhooks_off"
        one.send_signal(signal.SIGTERM)
        assert one.wait(10) == 0
    assert receiver.messages == []
