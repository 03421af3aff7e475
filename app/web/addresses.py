"""What addresses of pages hold: ids, cursors, choices of a filter. What has not the form of one is no page.

Nothing of another form reaches the database, which refuses NUL in a text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Path, Query
from pydantic import AfterValidator, BeforeValidator, StringConstraints

from app.domain.ids import Prefix
from app.web.rendering import with_values

MAX_WORDS = 200
_ULID = "[0-9a-hjkmnp-tv-z]{26}"


def id_pattern(prefix: Prefix) -> str:
    return f"^{prefix}_{_ULID}$"


KeyPath = Annotated[str, Path(pattern=id_pattern("key"))]
WebhookPath = Annotated[str, Path(pattern=id_pattern("wh"))]
DeliveryPath = Annotated[str, Path(pattern=id_pattern("whd"))]


def _none_if_empty(value: object) -> object:
    return None if value == "" else value


def _printable(text: str) -> str:
    return "".join(character for character in text.strip() if character.isprintable())


EMPTY_IS_NONE = BeforeValidator(_none_if_empty)
"""A form's filter sends its choice "any" as an empty value."""
Cursor = Annotated[
    Annotated[str, StringConstraints(pattern=f"^[a-z]{{2,4}}_{_ULID}$")] | None, EMPTY_IS_NONE, Query()
]
Words = Annotated[str, Query(max_length=MAX_WORDS), AfterValidator(_printable)]
"""What a person looks for."""


def link(path: str, query: Mapping[str, str], **changed: str | None) -> str:
    """`path` with those parameters of `query` and of `changed` that have a value."""
    values = with_values(query, **changed)
    return f"{path}?{urlencode(values)}" if values else path
