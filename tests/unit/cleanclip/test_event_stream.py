"""Server-sent events, read as the standard says, however the bytes are cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanclip.sync.following import MAX_FRAME_BYTES, Frame, NotAnEventStream, frames

WHOLE = (
    ": greetings\nretry: 1500\n\n"
    'id: 1\nevent: created\ndata: {"a":\ndata:  1}\n\n'
    ": beat\r\n\r\n"
    "id:2\revent:noted\rdata:ü\u2028\x85\x0bx\r\r"
    "event: done\ndata: {}\n\n"
    "id: 3\nevent: cut\ndata: off"
).encode()
FOUND = [
    None,
    Frame(event="created", data='{"a":\n 1}', id="1"),
    None,
    Frame(event="noted", data="ü\u2028\x85\x0bx", id="2"),
    Frame(event="done", data="{}", id=None),
]


@given(st.lists(st.integers(0, len(WHOLE)), max_size=12))
def test_events_are_the_same_wherever_the_bytes_are_cut(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(WHOLE)]
    chunks = [WHOLE[begin:end] for begin, end in pairwise(places)]
    assert list(frames(chunks)) == FOUND


def test_an_event_without_data_is_none_and_a_mark_of_byte_order_is_passed_over() -> None:
    assert list(frames([b"\xef\xbb\xbfdata: 1\n\nevent: empty\nid: 4\n\ndata\n\n"])) == [
        Frame(event="message", data="1", id=None),
        Frame(event="message", data="", id=None),
    ]


@pytest.mark.parametrize("piece", [b"x" * 65536, b"data: " + b"x" * 65530 + b"\n"])
def test_what_never_ends_is_given_up(piece: bytes) -> None:
    with pytest.raises(NotAnEventStream):
        list(frames(piece for _ in range(3 * MAX_FRAME_BYTES // len(piece))))
