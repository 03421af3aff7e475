"""Requests and answers of docs/reference/api.md fit the OpenAPI document; test_blocks.py runs the flow."""

import json
import re
from typing import Any

import jsonschema_rs
import pytest

from tests.docs.blocks import ROOT, blocks
from tests.unit.app.api.test_openapi import DOCUMENT

PAGE = ROOT / "docs" / "reference" / "api.md"
TEXT = PAGE.read_text(encoding="utf-8")
SHELL = "\n".join(block.code for block in blocks(PAGE) if block.language == "bash")
OPERATIONS = {
    (method.upper(), re.sub(r"{\w+}", "{}", path)): operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}
PREFIXES = {"checkpoint": "ckpt", "pairs": "ds", "labelled": "ds"}
CALLS = re.findall(r'call ([A-Z]+) "?(/[^\s"]*)"?(?: --json @(\w+\.json))?', SHELL)
BODIES = dict(re.findall(r"cat > (\w+\.json) <<JSON\n(.*?)\nJSON\n", SHELL, re.S))
SHOWN = re.findall(r"<!-- (body|answer): ([A-Z]+) (\S+) ?(\d*) -->\n```json\n(.*?)\n```", TEXT, re.S)


def operation_of(method: str, path: str) -> dict[str, Any]:
    return OPERATIONS[method, re.sub(r"\$\w+|{\w+}", "{}", path)]


def filled_in(text: str) -> Any:
    """With ids instead of the shell's variables and of what the page leaves out."""
    text = re.sub(r"\$\([^)]*\)", "1", text)
    text = re.sub(r"\$(\w+)", lambda match: f"{PREFIXES[match[1]]}_…", text)
    return json.loads(text.replace("_…", "_01k0000000000000000000000a"))


def schema_of(holder: dict[str, Any]) -> dict[str, Any]:
    """Of a body or an answer."""
    [content] = holder["content"].values()
    return {**content["schema"], "components": DOCUMENT["components"]}


def parts_alone(schema: Any) -> Any:
    """The schema of an answer of which some fields are left out: none is needed, and no other is allowed."""
    if isinstance(schema, list):
        return [parts_alone(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    fields = {"additionalProperties": False} if isinstance(schema.get("properties"), dict) else {}
    return fields | {name: [] if name == "required" else parts_alone(one) for name, one in schema.items()}


def test_the_page_shows_a_whole_flow() -> None:
    assert len(CALLS) >= 10
    assert {"upload.json", "order.json"} <= BODIES.keys()


@pytest.mark.parametrize(("method", "path", "file"), CALLS, ids=lambda value: value or "no body")
def test_a_call_of_the_flow_is_an_operation_and_takes_that_body(method: str, path: str, file: str) -> None:
    operation = operation_of(method, path)
    if file and file != "wrong.json":
        jsonschema_rs.validate(schema_of(operation["requestBody"]), filled_in(BODIES[file]))


@pytest.mark.parametrize(("what", "method", "path", "status", "text"), SHOWN)
def test_what_is_shown_is_a_body_or_a_part_of_an_answer(
    what: str, method: str, path: str, status: str, text: str
) -> None:
    operation = operation_of(method, path)
    schema = schema_of(operation["requestBody"] if what == "body" else operation["responses"][status])
    jsonschema_rs.validate(schema if what == "body" else parts_alone(schema), filled_in(text))


def test_an_order_of_each_kind_is_shown() -> None:
    bodies = [BODIES["order.json"], *(text for what, *_, text in SHOWN if what == "body")]
    orders = operation_of("POST", "/v1/jobs")["requestBody"]["content"]["application/json"]["schema"]
    assert {filled_in(body)["kind"] for body in bodies} == orders["discriminator"]["mapping"].keys()


def test_a_field_that_no_answer_has_is_found() -> None:
    schema = parts_alone(schema_of(operation_of("GET", "/v1/jobs/{job_id}")["responses"]["200"]))
    jsonschema_rs.validate(schema, {"result": {"verdict": {"outcome": "fail"}}})
    with pytest.raises(jsonschema_rs.ValidationError, match="moon"):
        jsonschema_rs.validate(schema, {"result": {"verdict": {"moon": "full"}}})
