"""What makes JSON say one thing, and nothing without bounds: for everybody who reads what others wrote."""

from __future__ import annotations

import math

from pydantic_core import from_json

MAX_TEXT_CHARACTERS = 10_000
"""Of one text or key: a sentence of a verdict on 32 attacks has 4,000."""
MAX_BINARY_CHARACTERS = 128 * 1024
"""Of bytes in base64, under one of the keys `_BINARY`."""
MAX_WHOLE_NUMBER = 2**53
"""The largest that every reader of JSON understands."""
MAX_NUMBER = 1e50
"""Far above what float32 holds, and far below where a sum or a product of two is infinite."""
_BINARY = frozenset({"picture", "rgb"})


def unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """For `object_pairs_hook`: of two values under one key a reader would take either. Raises RepeatedKey."""
    table = dict(pairs)
    if len(table) != len(pairs):
        raise RepeatedKey("a key occurs twice")
    return table


class RepeatedKey(ValueError):
    """An object has a key twice."""


def bounded(data: bytes | str) -> object:
    """The JSON value in `data`. Raises ValueError for what is no JSON, NaN and infinity included, and for
    what `refuse_unbounded` refuses."""
    value: object = from_json(data, allow_inf_nan=False)
    refuse_unbounded(value)
    return value


def refuse_unbounded(value: object) -> None:
    """Raises ValueError where a JSON value holds a number that is not finite or larger than any figure is,
    or a text that is longer than any sentence is. How many values there are is not its business."""
    waiting: list[tuple[str, object]] = [("", value)]
    while waiting:
        key, item = waiting.pop()
        if isinstance(item, str):
            _refuse_long(item, MAX_BINARY_CHARACTERS if key in _BINARY else MAX_TEXT_CHARACTERS)
        elif isinstance(item, int):
            if abs(item) > MAX_WHOLE_NUMBER:
                raise ValueError("a whole number is too large")
        elif isinstance(item, float):
            if not math.isfinite(item) or abs(item) > MAX_NUMBER:
                raise ValueError("a number is too large, or none")
        elif isinstance(item, dict):
            for name in item:
                _refuse_long(name, MAX_TEXT_CHARACTERS)
            waiting += item.items()
        elif isinstance(item, list | tuple):
            waiting += ((key, one) for one in item)


def _refuse_long(text: str, most: int) -> None:
    if len(text) > most:
        raise ValueError(f"a text has more than {most} characters")
