"""Ids: prefixed, 26 characters of Crockford base 32, in the order they were made."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import get_args

import pytest

from app.domain.ids import Prefix, is_id, new_id

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


@pytest.mark.parametrize("prefix", get_args(Prefix))
def test_an_id_is_its_prefix_and_a_ulid(prefix: Prefix) -> None:
    made = new_id(prefix)
    head, _, tail = made.partition("_")
    assert head == prefix
    assert len(tail) == 26
    assert set(tail) <= set(ALPHABET)
    assert is_id(prefix, made)


def test_the_first_ten_characters_are_the_milliseconds() -> None:
    before_ms = time.time_ns() // 1_000_000
    tail = new_id("job").partition("_")[2]
    after_ms = time.time_ns() // 1_000_000
    milliseconds = 0
    for character in tail[:10]:
        milliseconds = milliseconds * 32 + ALPHABET.index(character)
    assert before_ms <= milliseconds <= after_ms


def test_ids_of_one_process_sort_by_creation_even_within_a_millisecond() -> None:
    made = [new_id("job") for _ in range(5000)]
    assert made == sorted(made)


def test_threads_never_get_the_same_id() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: new_id("job"), range(4000)))
    assert len(set(made)) == len(made)


@pytest.mark.parametrize(
    "text",
    ["", "job_", "job_01", "ckpt_" + "0" * 26, "job_" + "i" * 26, "job_" + "0" * 27, "JOB_" + "0" * 26],
)
def test_what_is_no_id_of_the_kind_is_told_apart(text: str) -> None:
    assert not is_id("job", text)
