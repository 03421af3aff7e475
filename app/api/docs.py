"""/docs: the OpenAPI document as one page for people. No script, and nothing from another host."""

import base64
import functools
import hashlib
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

from fastapi import FastAPI
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from app.api import openapi

PATH = "/docs"
_MODEL = "#/components/schemas/"
_BOUNDS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "over {}",
    "exclusiveMaximum": "under {}",
    "maxLength": "at most {} characters",
    "maxItems": "at most {} of them",
}


def install(app: FastAPI) -> None:
    """Serve the page; it is drawn when it is first asked for."""

    @functools.cache
    def rendered() -> str:
        return _render(app.openapi())

    async def answer(_request: Request) -> Response:
        return HTMLResponse(rendered(), headers={"Content-Security-Policy": _policy()})

    app.add_route(PATH, answer, include_in_schema=False)


@functools.cache
def _css() -> str:
    return files("app.api").joinpath("templates", "docs.css").read_text(encoding="utf-8")


def _policy() -> str:
    """Only the sheet that stands in the page is taken."""
    digest = base64.b64encode(hashlib.sha256(_css().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; frame-ancestors 'none'"


def _render(document: Mapping[str, Any]) -> str:
    environment = Environment(
        loader=PackageLoader("app.api"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["prose"] = _prose
    environment.globals["shapes"] = lambda schema: list(_shapes(schema))
    page = environment.get_template("docs.html").render(
        document=document,
        css=Markup(_css()),  # noqa: S704 - our own file
        json_path=openapi.PATH,
        tags=_tags(document),
        models=[(name, _model(schema)) for name, schema in sorted(document["components"]["schemas"].items())],
    )
    return page.lstrip()


def _tags(document: Mapping[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    operations_of: dict[str, list[dict[str, Any]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            answers = sorted(operation["responses"].items())
            operations_of.setdefault(operation["tags"][0], []).append(
                {
                    "method": method.upper(),
                    "path": path,
                    "operation": operation,
                    "parameters": [_parameter(one) for one in operation.get("parameters", ())],
                    "body": _schema_of(operation.get("requestBody")),
                    "answers": [(status, _schema_of(one)) for status, one in answers],
                }
            )
    return list(operations_of.items())


def _parameter(parameter: Mapping[str, Any]) -> dict[str, Any]:
    schema = parameter["schema"]
    return {
        "name": parameter["name"],
        "is_required": parameter.get("required", False),
        "schema": schema,
        "meaning": parameter.get("description", schema.get("description", "")),
    }


def _model(schema: Mapping[str, Any]) -> dict[str, Any]:
    rows = [
        {
            "name": name,
            "is_required": name in schema.get("required", ()),
            "schema": field,
            "meaning": field.get("description", ""),
        }
        for name, field in schema.get("properties", {}).items()
    ]
    return {"description": schema.get("description", ""), "rows": rows, "schema": schema}


def _schema_of(holder: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Of a body or an answer; the first of its media types."""
    content = (holder or {}).get("content", {})
    first: Mapping[str, Any] = next(iter(content.values()), {})
    return first.get("schema")


def _shapes(schema: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """A schema in words, in parts; a part with `model` leads to it."""
    if "$ref" in schema:
        name = str(schema["$ref"]).removeprefix(_MODEL)
        yield {"text": name, "model": name}
        return
    for key in ("anyOf", "oneOf", "allOf"):
        for number, one in enumerate(schema.get(key, ())):
            if number:
                yield _text(" or ")
            yield from _shapes(one)
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        yield _text(", ".join(map(str, values)))
    elif "type" in schema:
        yield _text(str(schema["type"]))
    if schema.get("type") == "array":
        yield _text(" of ")
        yield from _shapes(schema.get("items", {}))
    bounds = [words.format(schema[name]) for name, words in _BOUNDS.items() if name in schema]
    if schema.get("default") is not None:
        bounds.append(f"default {schema['default']}")
    if bounds:
        yield _text(f", {', '.join(bounds)}")


def _text(words: str) -> dict[str, str]:
    return {"text": words, "model": ""}


def _prose(text: str) -> Markup:
    """Paragraphs, lists, code and bold of our own docstrings; everything else is text."""
    blocks = []
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = [" ".join(line.split()) for line in re.split(r"\n\s*- |^- ", block)]
        if block.startswith("- "):
            blocks.append("<ul>" + "".join(f"<li>{_inline(line)}</li>" for line in lines if line) + "</ul>")
        elif block:
            blocks.append(f"<p>{_inline(' '.join(block.split()))}</p>")
    return Markup("".join(blocks))  # noqa: S704 - every piece was escaped


def _inline(text: str) -> str:
    escaped = str(escape(text))
    escaped = re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped)
    return re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", escaped)
