"""Calls of a store that hangs: bounded in number and in time, refused while it fails, tried by one."""

import threading
from collections.abc import Iterator

import pytest

from app.storage.bulkhead import Breaker, Bulkhead
from app.storage.errors import ObjectNotFound, StoreRefused, StoreUnavailable


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def fail(error: Exception) -> None:
    raise error


class Hanging:
    """Work that ends when it is told to."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.num_begun = 0

    def __call__(self) -> str:
        self.num_begun += 1
        self.may_end.wait(30)
        return "late"


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    work = Hanging()
    yield work
    work.may_end.set()


def test_an_answer_and_an_error_come_through() -> None:
    bulkhead = Bulkhead(num_calls=1, timeout_s=10.0)
    assert bulkhead.call(lambda: 5) == 5
    with pytest.raises(ObjectNotFound):
        bulkhead.call(lambda: fail(ObjectNotFound("x")))
    with pytest.raises(TimeoutError):
        bulkhead.call(lambda: fail(TimeoutError("the work's own")))


def test_so_many_calls_run_as_many_wait_and_more_are_refused_at_once(hanging: Hanging) -> None:
    reasons: list[str] = []
    bulkhead = Bulkhead(
        num_calls=2, timeout_s=0.2, breaker=Breaker(max_failures=100), on_refused=reasons.append
    )
    failed: list[StoreUnavailable] = []

    def ask() -> None:
        try:
            bulkhead.call(hanging)
        except StoreUnavailable as error:
            failed.append(error)

    waiting = [threading.Thread(target=ask) for _ in range(7)]
    for thread in waiting:
        thread.start()
    for thread in waiting:
        thread.join(10)
    assert len(failed) == 7
    assert sorted(reasons) == ["busy"] * 3 + ["late"] * 4
    assert hanging.num_begun == 2
    hanging.may_end.set()
    assert bulkhead.call(lambda: "again") == "again"


def test_what_comes_too_late_is_undone(hanging: Hanging) -> None:
    bulkhead = Bulkhead(num_calls=1, timeout_s=0.05)
    undone = threading.Event()
    with pytest.raises(StoreUnavailable):
        bulkhead.call(hanging, undo=lambda answer: undone.set() if answer == "late" else None)
    hanging.may_end.set()
    assert undone.wait(10)


def test_after_failures_in_a_row_nobody_asks_until_one_tries_for_all() -> None:
    clock = Clock()
    breaker = Breaker(max_failures=3, open_s=5.0, now_s=clock)

    def ask(error: Exception | None = None) -> None:
        with breaker.watching():
            if error is not None:
                raise error

    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            ask(StoreUnavailable("503"))
    with pytest.raises(ObjectNotFound):
        ask(ObjectNotFound("an answer: the count begins again"))
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="503"):
            ask(StoreUnavailable("503"))
    with pytest.raises(StoreRefused) as refused:
        ask()
    assert (refused.value.reason, refused.value.retry_after_s) == ("open", 5)

    clock.now_s += 5.0
    with breaker.watching(), pytest.raises(StoreRefused):  # one tries
        ask()
    ask()
    assert not breaker.is_open


def test_a_trial_that_fails_opens_it_again_and_a_refusal_of_ours_counts_as_nothing() -> None:
    clock = Clock()
    breaker = Breaker(max_failures=1, open_s=5.0, now_s=clock)
    busy = StoreRefused("all places are taken", reason="busy", retry_after_s=1)
    with pytest.raises(StoreRefused), breaker.watching():
        raise busy
    assert not breaker.is_open
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="503"), breaker.watching():
            raise StoreUnavailable("503")
        with pytest.raises(StoreRefused), breaker.watching():
            pass
        clock.now_s += 5.0


def test_a_thread_that_cannot_be_started_leaves_its_place_free(monkeypatch: pytest.MonkeyPatch) -> None:
    bulkhead = Bulkhead(num_calls=1, timeout_s=1.0, breaker=Breaker(max_failures=100))

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        for _ in range(3):
            with pytest.raises(RuntimeError, match="new thread"):
                bulkhead.call(lambda: 5)
    assert bulkhead.call(lambda: 5) == 5
