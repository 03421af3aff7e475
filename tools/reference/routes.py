"""Every operation of the OpenAPI document in one line; `/docs` of the service has the rest."""

from collections.abc import Iterator, Mapping
from typing import Any

from app.main import create_app
from app.settings import Settings
from tools.reference.markdown import Kept, Maker, code, table


def operations() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """`GET /v1/jobs` and the like, with what the document says of each."""
    for path, methods in create_app(Settings()).openapi()["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def _operations(_: Kept) -> str:
    rows = [(code(name), operation["summary"]) for name, operation in operations()]
    return table(("operation", "what it does"), rows)


MAKERS: Mapping[str, Maker] = {"operations": _operations}
