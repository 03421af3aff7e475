"""Prefixed, time-sortable ids: a prefix and a ULID in lower-case Crockford base 32.

Ids made in one process are strictly increasing, also within one millisecond, so that sorting by id is
sorting by creation.
"""

import re
import secrets
import threading
import time
from typing import Literal, get_args

Prefix = Literal[
    "prj", "upl", "ckpt", "ds", "job", "art", "key", "req", "trl", "del", "pol", "wh", "whd", "msg", "null"
]

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_RANDOM_BITS = 80
_LENGTH = 26
ULID = "[0-9a-hjkmnp-tv-z]{26}"
"""As a pattern."""
_PATTERN = re.compile(rf"[a-z]{{2,4}}_{ULID}")


class _Clock:
    """The last ULID given out; the next is larger even when the wall clock stands still or steps back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> int:
        now_ms = time.time_ns() // 1_000_000
        fresh = (now_ms << _RANDOM_BITS) | secrets.randbits(_RANDOM_BITS)
        with self._lock:
            if fresh >> _RANDOM_BITS <= self._last >> _RANDOM_BITS:
                fresh = self._last + 1 + secrets.randbits(32)
            self._last = fresh
            return fresh


_CLOCK = _Clock()


def new_id(prefix: Prefix) -> str:
    """`prefix_` and 26 characters: 48 bits of milliseconds since 1970, then 80 random bits."""
    return f"{prefix}_{_digits(_CLOCK.next())}"


def lowest_id(prefix: Prefix, made_at_s: float) -> str:
    """What no id that was made at `made_at_s` (seconds since 1970) or later sorts below."""
    return f"{prefix}_{_digits(int(1000 * made_at_s) << _RANDOM_BITS)}"


def _digits(value: int) -> str:
    return "".join(_ALPHABET[(value >> (5 * place)) & 31] for place in range(_LENGTH - 1, -1, -1))


def id_pattern(prefix: Prefix) -> str:
    return f"^{prefix}_{ULID}$"


def is_id(prefix: Prefix, text: str) -> bool:
    """Whether `text` has the form of an id of that prefix."""
    return text.startswith(f"{prefix}_") and _PATTERN.fullmatch(text) is not None


def is_any_id(text: str) -> bool:
    """Whether `text` has the form of an id of ours, of whatever kind."""
    return any(is_id(prefix, text) for prefix in get_args(Prefix))
