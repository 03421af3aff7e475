"""A form that is made of a kind's value shows the options that have a label, with their bounds."""

from dataclasses import fields
from typing import Any

import pytest
from pydantic import TypeAdapter

from app.domain.limits import MAX_MAX_ATTEMPTS
from app.web.jobs import options
from app.web.kit.visitor import Form
from cleanclip.kinds.catalogue import KINDS
from cleanclip.kinds.kind import Kind

FORMS = [kind for kind in KINDS.values() if kind.is_public and kind.page != "jobs"]


@pytest.mark.parametrize("kind", FORMS, ids=lambda kind: kind.name)
def test_a_form_names_what_is_read_and_says_what_it_is(kind: Kind) -> None:
    assert kind.about
    assert all(one.about and one.about.endswith(".") and one.label for one in kind.inputs)
    labels = [one.label for one in (*kind.inputs, *options.of_kind(kind.name).options)]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("kind", FORMS, ids=lambda kind: kind.name)
def test_the_bounds_of_a_form_are_those_of_its_options(kind: Kind) -> None:
    assert kind.options is not None
    for one in options.of_kind(kind.name).options:
        if one.kind != "number":
            continue
        schema = TypeAdapter(kind.options).json_schema()["properties"][one.option]
        low, high = schema.get("minimum", schema.get("exclusiveMinimum")), schema["maximum"]
        expected = {low: "minimum" in schema, high: True, low - 1: False, high + 1: False}
        for value, is_taken in expected.items():
            assert _is_taken(kind.options, one.option, value) is is_taken, (one.name, value)
        assert options.readable_number(low) in one.bounds
        assert options.readable_number(high) in one.bounds


def _is_taken(kind: type[Any], option: str, value: float) -> bool:
    try:
        TypeAdapter(kind).validate_python({option: value})
    except ValueError:
        return False
    return True


def test_a_text_scan_has_all_of_its_options_in_the_form() -> None:
    kind = KINDS["text_scan"]
    assert kind.options is not None
    shown = [one.option for one in options.of_kind(kind.name).options]
    assert shown == [one.name for one in fields(kind.options)]


def test_seed_and_attempts_are_shown_with_the_bounds_of_every_order() -> None:
    bounds = {one.name: one.bounds for one in options.of_order().options}
    assert bounds["seed"] == f"0 to {2**31 - 1:,}"
    assert bounds["max_attempts"] == f"1 to {MAX_MAX_ATTEMPTS}"


def test_what_was_ordered_is_written_so_that_it_is_read_back() -> None:
    ordered = {"trigger_words": ["one, two", "three"], "search": False, "num_texts": 30, "num_fine": 400}
    group = options.of_kind("text_scan").options
    form = Form([*options.written(group, ordered)])
    del ordered["num_fine"]  # as by default
    assert options.given(form, group) == ordered
