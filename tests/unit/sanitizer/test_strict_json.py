"""JSON that strangers wrote: finite numbers and texts with an end, or the place of what is neither."""

from __future__ import annotations

import json

import pytest

from cleanclip.spec import strict_json
from cleanclip.spec.strict_json import parse_bounded


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
