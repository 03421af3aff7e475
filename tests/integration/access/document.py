"""What an OpenAPI document says of each operation: its parameters, and every text that a caller may choose.

Knows no particular route. A text is an *id* when its name, its pattern or its example says so; any other
text must be accounted for by whoever asks, so that no new id slips through under an odd name.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

METHODS = ("get", "put", "post", "delete", "patch", "head", "options", "trace")
_ID_NAME = re.compile(r"(^|_)ids?$|^after$|^before$")
_ID_PATTERN = re.compile(r"^\^?\(?(\[a-z\]\{\d,\d\}|[a-z|()]+)_")
_ID_EXAMPLE = re.compile(r"[a-z]{2,4}_[0-9a-z]{26}")


@dataclass(frozen=True, kw_only=True)
class Text:
    """A text that the caller chooses. `pointer` is a JSON pointer into the body (`*`: any element or key),
    or the name of a parameter."""

    place: str
    pointer: str
    schema: Mapping[str, Any]

    @property
    def name(self) -> str:
        parts = [part for part in self.pointer.split("/") if part not in {"", "*"}]
        return parts[-1] if parts else ""

    @property
    def is_id(self) -> bool:
        examples = [str(example) for example in self.schema.get("examples", [])]
        return bool(
            self.place == "path"
            or _ID_NAME.search(self.name)
            or _ID_PATTERN.match(self.schema.get("pattern", ""))
            or any(_ID_EXAMPLE.fullmatch(example) for example in examples)
        )

    @property
    def is_bounded(self) -> bool:
        """One of a few known words, a time, or a digest: nothing that could name a row."""
        return (
            "enum" in self.schema
            or "const" in self.schema
            or self.schema.get("format") in {"date-time", "binary"}
            or self.schema.get("pattern") in {"^[0-9a-f]{64}$", "^(clip_bpe|[0-9a-f]{64})$"}
        )


@dataclass(frozen=True, kw_only=True)
class Operation:
    name: str
    method: str
    path: str
    texts: tuple[Text, ...]
    media_type: str | None
    needs_key: bool

    @property
    def ids(self) -> tuple[Text, ...]:
        return tuple(text for text in self.texts if text.is_id)

    @property
    def is_safe(self) -> bool:
        """Whether it only reads (RFC 9110 §9.2.1)."""
        return self.method in {"GET", "HEAD"}

    @property
    def path_ids(self) -> tuple[str, ...]:
        return tuple(text.pointer for text in self.texts if text.place == "path")


def operations(document: Mapping[str, Any]) -> list[Operation]:
    """Every operation of the document."""
    return [
        _operation(document, path, method, item[method])
        for path, item in document["paths"].items()
        for method in METHODS
        if method in item
    ]


def _operation(document: Mapping[str, Any], path: str, method: str, reported: Mapping[str, Any]) -> Operation:
    texts = []
    for parameter in reported.get("parameters", []):
        for _, schema in texts_of(document, parameter["schema"]):
            texts.append(Text(place=parameter["in"], pointer=parameter["name"], schema=schema))
    bodies = reported.get("requestBody", {}).get("content", {})
    for content in bodies.values():
        for pointer, schema in texts_of(document, content.get("schema", {})):
            texts.append(Text(place="body", pointer=pointer, schema=schema))
    return Operation(
        name=reported["operationId"],
        method=method.upper(),
        path=path,
        texts=tuple(_unique(texts)),
        media_type=next(iter(bodies), None),
        needs_key=bool(reported.get("security", document.get("security"))),
    )


def _unique(texts: list[Text]) -> list[Text]:
    """One per place and pointer: alternatives of a union often share a field."""
    seen: dict[tuple[str, str], Text] = {}
    for text in texts:
        seen.setdefault((text.place, text.pointer), text)
    return list(seen.values())


def texts_of(
    document: Mapping[str, Any], schema: Mapping[str, Any], pointer: str = "", inside: tuple[str, ...] = ()
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(pointer, schema) of every text within a schema, keys of free-form objects included."""
    reference = schema.get("$ref")
    if isinstance(reference, str):
        if reference not in inside:
            yield from texts_of(document, _at(document, reference), pointer, (*inside, reference))
        return
    for union in ("anyOf", "oneOf", "allOf"):
        for alternative in schema.get(union, []):
            yield from texts_of(document, alternative, pointer, inside)
    for name, child in schema.get("properties", {}).items():
        yield from texts_of(document, child, f"{pointer}/{name}", inside)
    for group in ("items", "additionalProperties"):
        if isinstance(schema.get(group), Mapping):
            yield from texts_of(document, schema[group], f"{pointer}/*", inside)
    for child in schema.get("prefixItems", []):
        yield from texts_of(document, child, f"{pointer}/*", inside)
    if schema.get("type") == "string":
        yield pointer, schema
    if not schema.keys() & _SAYS_WHAT_IT_IS:
        yield pointer, schema  # anything at all may stand here: a text too


_SAYS_WHAT_IT_IS = {"type", "anyOf", "oneOf", "allOf", "enum", "const", "$ref"}


def _at(document: Mapping[str, Any], reference: str) -> Mapping[str, Any]:
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part.replace("~1", "/").replace("~0", "~")]
    return found  # type: ignore[no-any-return]
