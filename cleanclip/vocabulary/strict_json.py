"""What makes JSON say one thing, and nothing without bounds: for everybody who reads what others wrote."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError, from_json

from cleanclip.vocabulary.errors import SanitizerError

T = TypeVar("T")

MAX_TEXT_CHARACTERS = 10_000
"""Of one text or key: a sentence of a verdict on 32 attacks has 4,000."""
MAX_BINARY_CHARACTERS = 128 * 1024
"""Of bytes in base64, under one of the keys `BINARY_KEYS`: an image or a pattern of a report."""
MAX_WHOLE_NUMBER = 2**53
"""The largest that every reader of JSON understands."""
MAX_NUMBER = 1e50
"""Far above what float32 holds, and far below where a sum or a product of two is infinite."""
BINARY_KEYS = frozenset({"image", "pattern", "clean", "triggered", "examples"})
MAX_PARTS = 200_000
"""Commas and opening brackets, those in texts included: each part costs memory, whatever its length."""
MOST_PARTS_OF_MANY = 1_000_000
"""Of files that list models or shards: 600 reference models have that many, and 200,000 shards."""


def unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """For `object_pairs_hook`: of two values under one key a reader would take either. Raises RepeatedKey."""
    table: dict[str, object] = {}
    for name, value in pairs:
        if name in table:
            raise RepeatedKey(f"the key {name[:60]!r} occurs twice in one object")
        table[name] = value
    return table


class RepeatedKey(ValueError):
    """An object has a key twice."""


def refuse_many(data: bytes | str, most: int = MAX_PARTS) -> None:
    """Raises ValueError, before anybody parses it, where JSON has more than `most` parts.

    What costs memory is each value, not each byte: 32 MiB of `[],` become 2.5 GB. Depth needs no count of its
    own: `from_json` and `json` end at 200 and at 1,000 brackets that are open.
    """
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if sum(raw.count(part) for part in (b"{", b"[", b",")) > most:
        raise ValueError(f"it has more than {most:,} parts")


def parse_bounded(data: bytes | str, *, most_parts: int = MAX_PARTS) -> object:
    """The JSON value in `data`. Raises ValueError for what is not JSON, and as `refuse_many` and
    `refuse_unbounded` do."""
    refuse_many(data, most_parts)
    value: object = from_json(data)
    refuse_unbounded(value)
    return value


def load_bounded(adapter: TypeAdapter[T], data: bytes | str) -> T:
    """The value of a type in `data`, strictly. Raises ValidationError, also as `parse_bounded` does."""
    return _load(adapter, data)[0]


def _load(adapter: TypeAdapter[T], data: bytes | str) -> tuple[T, object]:
    """The value, and the document as plain JSON."""
    try:
        document = parse_bounded(data)
    except ValueError as error:
        problem = PydanticCustomError("unbounded", "{reason}", {"reason": str(error)})
        raise ValidationError.from_exception_data(
            "JSON", [InitErrorDetails(type=problem, loc=(), input=None)], "json"
        ) from error
    return adapter.validate_json(data, strict=True), document


def load_written(adapter: TypeAdapter[T], data: bytes | str) -> T:
    """A document of ours: what it says beside its fields must follow from them, and say nothing else.

    Raises ValidationError with the place, also as `load_bounded` does."""
    value, document = _load(adapter, data)
    try:
        written = adapter.dump_python(value, mode="json")
    except (ArithmeticError, LookupError, SanitizerError, ValueError) as error:
        problem = PydanticCustomError("contradicts_itself", "{reason}", {"reason": str(error)})
        raise ValidationError.from_exception_data(
            "JSON", [InitErrorDetails(type=problem, loc=(), input=None)], "json"
        ) from error
    found = [*differences(document, written)]
    if isinstance(document, dict) and is_dataclass(value):
        derived = document.keys() & written.keys() - {one.name for one in fields(value)}
        found += [
            ((name,), "has other parts than it must have")
            for name in sorted(derived)
            if not _is_known(document[name], written[name])
        ]
    for place, message in found:
        problem = PydanticCustomError("does_not_follow", "{message}", {"message": message})
        raise ValidationError.from_exception_data(
            "JSON", [InitErrorDetails(type=problem, loc=place, input=None)], "json"
        )
    return value


def _is_known(document: object, written: object) -> bool:
    """Whether all keys of a document are those of the same document written again; no object is empty that
    is not empty there."""
    if isinstance(document, dict) and isinstance(written, dict):
        known = all(name in written and _is_known(one, written[name]) for name, one in document.items())
        return known and bool(document) == bool(written)
    if isinstance(document, list) and isinstance(written, list):
        return all(map(_is_known, document, written))
    return True


def differences(document: object, written: object, place: _Place = ()) -> Iterator[tuple[_Place, str]]:
    """Places of a document that say something else than the same document written again. Numbers may differ
    in their last digits, times in their form; what it leaves out and what nobody knows say nothing."""
    if isinstance(document, dict) and isinstance(written, dict):
        for name in document:
            if name in written and name != "created_at":
                yield from differences(document[name], written[name], (*place, name))
    elif isinstance(document, list) and isinstance(written, list) and len(document) == len(written):
        for number, (one, other) in enumerate(zip(document, written, strict=True)):
            yield from differences(one, other, (*place, number))
    elif isinstance(document, int | float) and isinstance(written, int | float):
        if not math.isclose(document, written, rel_tol=1e-9, abs_tol=1e-9):
            yield place, f"is {document!r}, but the rest of the document gives {written!r}"
    elif document != written:
        yield place, "does not follow from the rest of the document"


_Place = tuple[str | int, ...]


def refuse_unbounded(value: object) -> None:
    """Raises ValueError, with the place, where a JSON value holds a number that is not finite or larger than
    any figure is, or a text that is longer than any sentence is."""
    waiting: list[tuple[_Place, object]] = [((), value)]
    while waiting:
        place, item = waiting.pop()
        if isinstance(item, str):
            key = next((part for part in reversed(place) if isinstance(part, str)), None)
            _refuse_long(place, item, MAX_BINARY_CHARACTERS if key in BINARY_KEYS else MAX_TEXT_CHARACTERS)
        elif isinstance(item, int):
            if abs(item) > MAX_WHOLE_NUMBER:
                raise ValueError(f"{_shown(place)} is a whole number too large for JSON")
        elif isinstance(item, float):
            if not math.isfinite(item) or abs(item) > MAX_NUMBER:
                raise ValueError(f"{_shown(place)} is too large a number, or not a finite one")
        elif isinstance(item, dict):
            for name in item:
                _refuse_long(place, name, MAX_TEXT_CHARACTERS)
            waiting += (((*place, name), one) for name, one in item.items())
        elif isinstance(item, list | tuple):
            waiting += (((*place, number), one) for number, one in enumerate(item))


def _refuse_long(place: _Place, text: str, most: int) -> None:
    if len(text) > most:
        raise ValueError(f"{_shown(place)} has a text of more than {most} characters")


def _shown(place: _Place) -> str:
    return ".".join(str(part)[:40] for part in place[:8]) or "the value"
