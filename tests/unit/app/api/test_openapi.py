"""The OpenAPI document is good enough to make a client from: everything has a name, errors are described."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from app.main import create_app
from app.settings import Settings
from tests.fakes.job_publisher import FakeJobPublisher

DOCUMENT: dict[str, Any] = create_app(Settings(), publisher=FakeJobPublisher()).openapi()
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}
WITHOUT_KEY = {"GET /healthz", "GET /readyz", "GET /metrics"}
NO_REFUSAL = {"GET /readyz 503"}
"""Tells which part fails: the same answer as when none does."""


def nodes(value: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of the document with its place."""
    if isinstance(value, dict):
        yield path, value
        for name, below in value.items():
            yield from nodes(below, f"{path}/{name}")
    elif isinstance(value, list):
        for number, below in enumerate(value):
            yield from nodes(below, f"{path}/{number}")


def without_examples(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_examples(v) for name, v in value.items() if name not in {"example", "examples"}}
    return [without_examples(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_each_operation_is_named_and_told(name: str) -> None:
    operation = OPERATIONS[name]
    assert re.fullmatch(r"[a-z]+(_[a-z]+)+", operation["operationId"])
    assert operation["summary"]
    assert not operation["summary"].endswith(".")
    assert operation["description"]
    assert len(operation["tags"]) == 1
    for parameter in operation.get("parameters", ()):
        assert parameter["schema"], parameter["name"]
    for status, response in operation["responses"].items():
        assert response["description"], status


def test_no_two_operations_have_one_name() -> None:
    names = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_each_refusal_is_a_problem(name: str) -> None:
    responses = OPERATIONS[name]["responses"]
    refusals = {status: response for status, response in responses.items() if status >= "400"}
    if name not in WITHOUT_KEY:
        assert {"401", "403", "429", "503"} <= refusals.keys()
    if "{" in name:
        assert {"404", "422"} <= refusals.keys()
    for status, response in refusals.items():
        if f"{name} {status}" not in NO_REFUSAL:
            assert response["content"] == {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
            }, status


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_each_body_and_each_answer_has_a_name(name: str) -> None:
    operation = OPERATIONS[name]
    bodies = [operation["requestBody"]] if "requestBody" in operation else []
    answers = [response for status, response in operation["responses"].items() if status < "300"]
    assert any(status < "400" for status in operation["responses"])
    for holder in (*bodies, *answers):
        for kind, content in holder.get("content", {}).items():
            if "json" in kind or "event-stream" in kind:
                assert names_a_schema(content["schema"]), (name, kind, content["schema"])


def names_a_schema(schema: dict[str, Any]) -> bool:
    """A name, or one of several that a field tells apart, or none at all beside one."""
    choices = schema.get("oneOf") or schema.get("anyOf") or [schema]
    return all("$ref" in one or one == {"type": "null"} for one in choices)


def test_each_schema_has_one_name_which_can_be_a_class() -> None:
    for name, schema in SCHEMAS.items():
        assert re.fullmatch(r"[A-Z][A-Za-z0-9]+", name), name
        assert schema.get("title", name) == name


def test_no_object_with_fields_is_without_a_name() -> None:
    named = {f"/components/schemas/{name}" for name in SCHEMAS}
    found = [
        path
        for path, node in nodes(without_examples(DOCUMENT))
        if isinstance(node.get("properties"), dict) and node.get("type") == "object" and path not in named
    ]
    assert found == []


def test_each_reference_leads_somewhere_and_each_schema_is_used() -> None:
    used = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(DOCUMENT)))
    assert used - SCHEMAS.keys() == set()
    assert SCHEMAS.keys() - used == set()


def test_states_and_kinds_are_enums() -> None:
    for name in ("UploadOut", "CheckpointOut", "DatasetOut", "JobOut", "KeyOut", "DeletionOut"):
        assert len(SCHEMAS[name]["properties"]["state"]["enum"]) > 1, name
    assert SCHEMAS["JobOut"]["properties"]["kind"]["enum"] == [
        "sanitize",
        "audit",
        "scan",
        "text_scan",
        "vet",
    ]


@pytest.mark.parametrize("name", ["JobScan", "FirstScan", "DryRunScan"])
def test_each_option_of_a_scan_is_described(name: str) -> None:
    """With those of its detectors and their families."""
    seen, left = set(), [name]
    while left:
        schema = left.pop()
        seen.add(schema)
        fields = SCHEMAS[schema]["properties"]
        assert [field for field, value in fields.items() if not value.get("description")] == [], schema
        left += {*re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(fields))} - seen
    assert {"CollapseDetectorOptions", "EditsDetectorOptions", "PatternFamily"} <= seen


def test_what_comes_in_and_what_goes_out_are_two() -> None:
    assert {"JobAuditIn", "JobAuditOut"} <= SCHEMAS.keys()
    shown = json.dumps(SCHEMAS["JobOut"]["properties"]["audit"])
    assert '/JobAuditOut"' in shown
    assert '/JobAuditIn"' not in shown
