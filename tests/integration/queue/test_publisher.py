"""One suite for the real publisher on a real broker and for the fake; and what a broken broker costs."""

import time
from collections.abc import Iterator

import pytest
import redis

from app.domain.states import JobKind
from app.queue.names import HEAVY_QUEUE, LIGHT_QUEUE
from app.queue.publisher import BrokerPublisher, JobPublisher
from tests.fakes.job_publisher import FakeJobPublisher


@pytest.fixture(params=["real", "fake"])
def publisher(request: pytest.FixtureRequest) -> Iterator[JobPublisher]:
    if request.param == "fake":
        yield FakeJobPublisher()
        return
    url = request.getfixturevalue("broker_url")
    with redis.Redis.from_url(url) as broker:
        broker.flushdb()
    real = BrokerPublisher(url)
    yield real
    real.close()


def test_each_hint_that_is_taken_deepens_the_queue(publisher: JobPublisher) -> None:
    assert publisher.depth() == 0
    assert publisher.job_ready("job_1", JobKind.AUDIT)
    assert publisher.job_ready("job_2", JobKind.INSPECT)
    assert publisher.depth() == 2


def test_the_message_is_the_id_and_nothing_else(broker_url: str) -> None:
    with redis.Redis.from_url(broker_url) as broker:
        broker.flushdb()
        publisher = BrokerPublisher(broker_url)
        publisher.job_ready("job_1", JobKind.SANITIZE)
        publisher.job_ready("job_2", JobKind.VALIDATE)
        assert broker.lrange(HEAVY_QUEUE, 0, -1) == [b"job_1"]
        assert broker.lrange(LIGHT_QUEUE, 0, -1) == [b"job_2"]
        publisher.close()


def test_a_prefix_keeps_two_installations_apart(broker_url: str) -> None:
    one = BrokerPublisher(broker_url, key_prefix="one:")
    two = BrokerPublisher(broker_url, key_prefix="two:")
    assert one.job_ready("job_1", JobKind.AUDIT)
    assert (one.depth(), two.depth()) == (1, 0)
    assert (one.num_refused(), two.num_refused()) == (0, 0)
    one.close()
    two.close()


def test_a_broker_that_refuses_costs_a_moment_and_raises_nothing() -> None:
    publisher = BrokerPublisher("redis://127.0.0.1:1/0")
    started = time.monotonic()
    assert publisher.job_ready("job_1", JobKind.AUDIT) is False
    assert publisher.depth() is None
    assert time.monotonic() - started < 5
    publisher.close()


def test_a_broker_that_hangs_costs_no_more_than_the_timeout_and_a_retry() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        publisher = BrokerPublisher(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", timeout_s=0.5)
        started = time.monotonic()
        assert publisher.job_ready("job_1", JobKind.AUDIT) is False
        assert time.monotonic() - started < 5
        publisher.close()
