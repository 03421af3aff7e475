"""Batches one ahead: the order, the ends, the errors; on a CPU they come as they are."""

import threading
from collections.abc import Iterator

import pytest
import torch

from sanitizer.training.feeding import feed, one_ahead
from tests.fixtures.tiny_clips import tiny_batch


def test_every_item_comes_once_and_in_order_prepared_by_another_thread() -> None:
    threads = set()

    def prepare(item: int) -> int:
        threads.add(threading.get_ident())
        return 10 * item

    assert list(one_ahead(iter(range(20)), prepare)) == [10 * item for item in range(20)]
    assert list(one_ahead(iter(()), prepare)) == []
    assert threading.get_ident() not in threads


def test_one_item_and_no_more_is_taken_ahead() -> None:
    taken = []
    third_is_taken = threading.Event()

    def items() -> Iterator[int]:
        for item in range(9):
            taken.append(item)
            if item == 2:
                third_is_taken.set()
            yield item

    ahead = one_ahead(items(), lambda item: item)
    assert [next(ahead), next(ahead)] == [0, 1]
    assert third_is_taken.wait(30)
    ahead.close()
    assert taken == [0, 1, 2]


def test_an_error_comes_at_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("bad pair")

    ahead = one_ahead(items(), lambda item: item)
    assert next(ahead) == 1
    with pytest.raises(KeyError, match="bad pair"):
        next(ahead)


def test_on_a_cpu_batches_come_as_they_are() -> None:
    batches = [tiny_batch(2, seed=seed) for seed in range(3)]
    fed = list(feed(iter(batches), torch.device("cpu"), copies=True))
    assert all(one is other for one, other in zip(fed, batches, strict=True))
