"""API keys on the wire. The key itself goes out once, when it is made; never again, whatever is asked."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self

from annotated_types import Len
from pydantic import AwareDatetime, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from app.db.models.project import ApiKey
from app.schemas.common import Name, Page, Time, WireIn, WireOut


def _is_a_number(value: Any) -> Any:
    if isinstance(value, bool | str):
        raise PydanticCustomError("not_a_number", "Give a whole number of seconds.")
    return value


def _is_a_time(value: Any) -> Any:
    if value is not None and not (isinstance(value, str) and _TIME.match(value)):
        raise PydanticCustomError("not_a_time", "Give a time as RFC 3339 has it: 2030-01-01T00:00:00Z.")
    return value


_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d")
WHOLE_NUMBER = BeforeValidator(_is_a_number)
"""No `true` and no text, which pydantic would take for 1 and for what it says."""
RFC_3339 = BeforeValidator(_is_a_time)
"""No number, which pydantic would take for seconds since 1970, or milliseconds if it is large.

Both stand behind the Field, whose bounds would not be published otherwise.
"""
ScopeName = Literal["read", "upload", "run", "admin"]
LifetimeS = Annotated[
    int, Field(ge=60, le=315_360_000, description="Seconds from now; at most ten years."), WHOLE_NUMBER
]
ExpiresAt = Annotated[AwareDatetime, Field(description="RFC 3339, with its offset from UTC."), RFC_3339]


class _Expiring(WireIn):
    expires_at: ExpiresAt | None = None
    expires_in_s: LifetimeS | None = None

    @model_validator(mode="after")
    def _expires_once(self) -> Self:
        if self.expires_at is not None and self.expires_in_s is not None:
            raise PydanticCustomError(
                "one_expiry", "Give expires_at or expires_in_s, not both.", {"pointer": "/expires_in_s"}
            )
        return self

    def expiry(self) -> datetime | None:
        """When the key ends, whichever way it was said."""
        if self.expires_in_s is not None:
            return datetime.now(UTC) + timedelta(seconds=self.expires_in_s)
        return self.expires_at


class KeyIn(_Expiring):
    """A new key. Without an expiry it is valid until it is revoked."""

    name: Name
    scopes: Annotated[
        list[ScopeName],
        Len(1, 4),
        Field(
            description="read: read everything but keys. upload: uploads, checkpoints and "
            "datasets. run: jobs. admin:"
            " everything, keys and the trail included.",
            examples=[["read", "run"]],
        ),
    ]


class RotateIn(_Expiring):
    """How a key is replaced. Without an expiry the new key lives as long as the old one was meant to."""

    overlap_s: Annotated[
        int,
        Field(
            ge=0,
            le=2_592_000,
            description="How long the old key stays valid beside the new one, at most 30 days. "
            "0: it ends at once.",
        ),
        WHOLE_NUMBER,
    ] = 86_400


class KeyLinks(WireOut):
    self: str


class KeyOut(WireOut):
    """A key: active → expired | revoked. Of the key itself only `prefix`, which opens nothing."""

    object: Literal["key"] = "key"
    id: str
    name: str
    prefix: str
    scopes: list[ScopeName]
    state: Literal["active", "expired", "revoked"]
    lineage_id: str = Field(
        description="The first key of the line; a rotated key and its successor share it."
    )
    created_at: Time
    expires_at: Time | None
    revoked_at: Time | None
    last_used_at: Time | None = Field(description="To the minute.")
    links: KeyLinks

    @classmethod
    def of(cls, row: ApiKey) -> Self:
        return cls.of_row(row, **_others(row))


class IssuedKeyOut(KeyOut):
    """A key that was just made, with its text: this once. Null in the answer to a repeated request."""

    key: str | None = Field(description="Send it as `Authorization: Bearer <key>`. It cannot be shown again.")

    @classmethod
    def issued(cls, row: ApiKey, text: str) -> IssuedKeyOut:
        return cls.of_row(row, **_others(row), key=text)

    def without_key(self) -> IssuedKeyOut:
        """As it is stored for a repeated request: the key is never written down."""
        return self.model_copy(update={"key": None})


class KeyPage(Page[KeyOut]):
    pass


def _others(row: ApiKey) -> dict[str, object]:
    return {"state": _state(row), "links": {"self": f"/v1/keys/{row.id}"}}


def _state(row: ApiKey) -> str:
    if row.revoked_at is not None:
        return "revoked"
    if row.expires_at is not None and row.expires_at <= datetime.now(UTC):
        return "expired"
    return "active"
