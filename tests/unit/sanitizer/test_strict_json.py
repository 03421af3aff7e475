"""JSON that strangers wrote: finite numbers and texts with an end, or the place of what is neither."""

import json
from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any, get_args, get_type_hints

import pytest

from cleanclip.vocabulary import attack_options, strict_json
from cleanclip.vocabulary.examples import PlainImage
from cleanclip.vocabulary.found_triggers import PatternImage
from cleanclip.vocabulary.report import Report
from cleanclip.vocabulary.scan_report import ScanReport
from cleanclip.vocabulary.strict_json import BINARY_KEYS, parse_bounded
from cleanclip.vocabulary.vet_report import VetReport


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ("NaN", "a.0.b"),
        ("-Infinity", "a.0.b"),
        ("1e400", "a.0.b"),
        ("-1e308", "a.0.b"),
        (str(2**53 + 1), "a.0.b"),
        (json.dumps("x" * 10_001), "a.0.b"),
        (json.dumps({"x" * 10_001: 1}), "a.0.b"),
        ("9" * 5000, "number"),
        ("[" * 5000, "recursion"),
        ("nul", "expected"),
    ],
    ids=lambda value: value[:12],
)
def test_what_has_no_bound_is_refused_with_its_place(value: str, place: str) -> None:
    with pytest.raises(ValueError, match=place):
        parse_bounded('{"a": [{"b": ' + value + "}]}")


def test_parts_are_counted_before_any_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = []
    monkeypatch.setattr(strict_json, "from_json", parsed.append)
    with pytest.raises(ValueError, match="more than 200,000 parts"):
        parse_bounded(b"[" + b"[]," * 100_000 + b"0]")
    assert not parsed
    parse_bounded(b"[" + b"[]," * 99_000 + b"0]")
    assert parsed


def test_figures_sentences_and_pictures_are_read() -> None:
    value = {
        "n": 2**53,
        "loss": 3e38,
        "is": True,
        "none": None,
        "reason": "x" * 10_000,
        "image": "A" * 90_000,
        "pattern": "A" * 90_000,
    }
    assert parse_bounded(json.dumps({"a": [value]})) == {"a": [value]}


def test_every_field_of_a_report_that_holds_bytes_may_be_as_long_as_they_are() -> None:
    """Its key stands in a list, since JSON is bounded before anybody knows what it is."""
    assert {field for one in (Report, ScanReport, VetReport) for field in binary_fields(one)} == BINARY_KEYS


def binary_fields(kind: Any, seen: set[Any] | None = None) -> Iterator[str]:
    """Names of the fields, of this dataclass and of those within, whose type holds an image or a pattern."""
    seen = set() if seen is None else seen
    if not (isinstance(kind, type) and is_dataclass(kind)) or kind in seen:
        return
    seen.add(kind)
    for name, reported in get_type_hints(kind, include_extras=True).items():
        for part in parts_of(reported):
            if part in (PlainImage, PatternImage, attack_options.TriggerImage):
                yield name
            yield from binary_fields(part, seen)


def parts_of(reported: Any) -> Iterator[Any]:
    """A type, and those that it is made of."""
    yield reported
    for inner in get_args(reported):
        yield from parts_of(inner)
