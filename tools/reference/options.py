"""Options and the report as their JSON Schemas have them; what each means is its description there, or is
written by hand, and kept."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from cleanclip.vocabulary import schemas
from tools.reference.markdown import Kept, Maker, code, paragraphs, table

_BOUNDS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {}",
    "maxItems": "at most {}",
}
OPTIONS = ("recipe", "audit", "policy", "declared", "scan")


def objects(name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every object of one schema with its title, the whole one first."""
    document = json.loads(schemas.schema(name))
    if "properties" in document:
        yield document["title"], document
    for title, below in document.get("$defs", {}).items():
        if "properties" in below:
            yield title, below


def shape(schema: Mapping[str, Any]) -> str:
    """What a value may be, in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return " or ".join(dict.fromkeys(shape(one) for one in schema[union]))
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return ", ".join(json.dumps(one) for one in schema["enum"])
    kind = schema.get("type", "anything")
    if "prefixItems" in schema:
        kind = "list of " + ", ".join(shape(one) for one in schema["prefixItems"])
    elif kind == "array":
        kind = f"list of {shape(schema.get('items', {}))}"
    elif isinstance(schema.get("additionalProperties"), dict):
        kind = f"map of {shape(schema['additionalProperties'])}"
    bounds = [
        text.format(schema[name])
        for name, text in _BOUNDS.items()
        if name in schema and "prefixItems" not in schema
    ]
    return " ".join([kind, ", ".join(bounds)]).strip()


def _default(field: Mapping[str, Any], *, is_needed: bool) -> str:
    if "$ref" in field and "default" in field:
        return "its defaults"
    if "default" in field:
        return code(json.dumps(field["default"]))
    return "needed" if is_needed else ""


def _options(name: str) -> Maker:
    def make(kept: Kept) -> str:
        parts = []
        for title, one in objects(name):
            parts.append(f"### {title}\n")
            parts.append(paragraphs(one.get("description", "")) + "\n")
            rows = [
                (
                    code(field),
                    shape(reported),
                    _default(reported, is_needed=field in one.get("required", ())),
                    reported.get("description") or kept(f"{title}/{field}"),
                )
                for field, reported in one["properties"].items()
            ]
            parts.append(table(("option", "value", "default", "meaning"), rows))
        return "\n".join(parts)

    return make


def _report(kept: Kept) -> str:
    """The report's own fields with a meaning each; of what they are made of, the shapes."""
    told_elsewhere = {title for name in OPTIONS for title, _ in objects(name)}
    parts = []
    for title, one in objects("report"):
        if title in told_elsewhere:
            continue
        is_whole = title == "Report"
        parts.append(f"### {title}\n")
        if one.get("description"):
            parts.append(paragraphs(one["description"]) + "\n")
        rows = [
            (code(field), shape(reported), *([kept(f"{title}/{field}")] if is_whole else []))
            for field, reported in one["properties"].items()
        ]
        parts.append(table(("field", "value", *(["meaning"] if is_whole else [])), rows))
    return "\n".join(parts)


MAKERS: Mapping[str, Maker] = {
    **{f"options of {name}": _options(name) for name in OPTIONS},
    "fields of a report": _report,
}
