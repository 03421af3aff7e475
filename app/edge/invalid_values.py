"""What pydantic refuses, as pointers and sentences that hold nothing of what came in.

Pointers are JSON pointers into the body; the tags that pydantic puts between them for unions are taken
out again by walking the body along.
"""

from collections.abc import Sequence
from typing import Any

from app.schemas.common import ErrorItem
from app.schemas.methods import KNOWN_TAGS, TAG_FIELDS, TAG_LEFT_OUT

MAX_POINTER = 300
_ECHOING = {
    "union_tag_invalid": "This is not one of the known kinds; see GET /v1/methods.",
    "string_pattern_mismatch": "This does not have the form of this field; /v1/openapi.json has an example.",
    "json_invalid": "This is not JSON.",
}


def error_item(problem: dict[str, Any], body: Any) -> ErrorItem:
    """One of `errors()`; its location begins with where the value came from ("body", "query", …)."""
    source, *path = problem["loc"]
    context = problem.get("ctx") or {}
    detail = _ECHOING.get(problem["type"], str(problem["msg"]).removeprefix("Value error, "))
    if problem["type"] == "union_tag_invalid" and (known := context.get("expected_tags")):
        names = str(known).replace("'", "")  # ours, not what came in
        detail = f"This must be one of {names}."
    if not detail.endswith((".", "!", "?")):
        detail += "."  # pydantic's own are no whole sentences; others follow them
    if source != "body":
        return ErrorItem(parameter=str(path[-1]) if path else str(source), detail=detail)
    given = context.get("pointer")
    pointer = given if isinstance(given, str) else pointer_of(path, body)
    if problem["type"] == "union_tag_invalid" or problem["type"] == "union_tag_not_found":
        pointer += "/" + str(context.get("discriminator", "")).strip("'")
    return ErrorItem(pointer=pointer[:MAX_POINTER], detail=detail)


def pointer_of(path: Sequence[int | str], body: Any) -> str:
    """RFC 6901, from pydantic's location: without the tags of unions and the marks of dictionary keys.

    A tag stands before the first field of its object: an audit job's `/audit/target` is located at
    ("audit", "audit", "target").
    """
    pointer = ""
    may_be_tag = True
    for step in path:
        if step == "[key]" or (may_be_tag and _is_tag(step, body, pointer)):
            may_be_tag = False
            continue
        text = str(step).encode("utf-8", "backslashreplace").decode()
        pointer += "/" + text.replace("~", "~0").replace("/", "~1")
        body = _child(body, step)
        may_be_tag = True
    return pointer


def _is_tag(step: int | str, body: Any, pointer: str) -> bool:
    if step not in KNOWN_TAGS or not isinstance(body, dict):
        return False
    name_left_out, meant = TAG_LEFT_OUT.get(pointer, (None, None))
    if name_left_out not in body and step == meant:
        return True
    return any(body.get(name) == step for name in TAG_FIELDS)


def _child(body: Any, step: int | str) -> Any:
    if isinstance(body, dict):
        return body.get(step)
    if isinstance(body, list) and isinstance(step, int) and 0 <= step < len(body):
        return body[step]
    return None
