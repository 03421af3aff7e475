"""Routes, as the OpenAPI document has them, each with a call that a test made and recorded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from app.main import create_app
from app.settings import Settings
from tools.reference.markdown import Kept, Maker, code, table
from tools.reference.options import shape

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "reference" / "api-examples.json"
SHOWN_LINES = 40
"""Of an answer; what is longer is cut, and says so."""


@cache
def document() -> dict[str, Any]:
    found: dict[str, Any] = create_app(Settings()).openapi()
    return found


def operations() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """`GET /v1/jobs` and the like, with what the document says of each."""
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def tags() -> list[str]:
    return list(dict.fromkeys(operation["tags"][0] for _, operation in operations()))


def examples() -> dict[str, Any]:
    """Operation → recorded request and answer."""
    if not EXAMPLES.exists():
        return {}
    found: dict[str, Any] = json.loads(EXAMPLES.read_text(encoding="utf-8"))
    return found


def _parameters(operation: Mapping[str, Any]) -> str:
    rows = [
        (
            code(one["name"]),
            one["in"],
            shape(one["schema"]),
            one.get("description", one["schema"].get("description", "")),
        )
        for one in operation.get("parameters", ())
    ]
    return table(("parameter", "in", "value", "meaning"), rows) if rows else ""


def _body(operation: Mapping[str, Any]) -> str:
    content = operation.get("requestBody", {}).get("content", {})
    names = [f"{kind}: {shape(told.get('schema', {}))}" for kind, told in content.items()]
    return f"Body: {'; '.join(names)}.\n" if names else ""


def _shown(value: Any) -> str:
    lines = (
        value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    ).splitlines()
    if len(lines) > SHOWN_LINES:
        lines = [*lines[:SHOWN_LINES], f"… {len(lines) - SHOWN_LINES} more lines"]
    return "\n".join(lines)


def example(call: Mapping[str, Any]) -> str:
    """One call as it goes over the wire, without the headers that every call has."""
    request = [f"{call['method']} {call['path']} HTTP/1.1", *call.get("headers", ())]
    if "body" in call:
        request += ["", _shown(call["body"])]
    answer = [f"HTTP/1.1 {call['status']}", *call.get("answer_headers", ())]
    if "answer" in call:
        answer += ["", _shown(call["answer"])]
    return "```http\n" + "\n".join(request) + "\n```\n\n```http\n" + "\n".join(answer) + "\n```\n"


def _tag(tag: str) -> Maker:
    def make(_: Kept) -> str:
        recorded = examples()
        parts = []
        for name, operation in operations():
            if operation["tags"][0] != tag:
                continue
            statuses = ", ".join(sorted(operation["responses"]))
            said = " ".join(re.sub(r"\n(?=\S)", " ", operation.get("description", "")).split())
            parts += [f"### {name}\n", f"{operation['summary']}. {said}\n"]
            parts += [_body(operation), _parameters(operation), f"Answers: {statuses}.\n"]
            if name in recorded:
                parts.append(example(recorded[name]))
        return "\n".join(part for part in parts if part)

    return make


MAKERS: Mapping[str, Maker] = {f"routes of {tag}": _tag(tag) for tag in tags()}
