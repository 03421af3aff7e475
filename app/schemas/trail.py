"""The trail on the wire: who did what, when and from where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from app.db.models.project import TrailEntry
from app.schemas.common import Page, Time, WireOut


class TrailEntryOut(WireOut):
    """One change, or one attempt on keys that was refused. Entries are never changed and never deleted."""

    object: Literal["trail_entry"] = "trail_entry"
    id: str
    created_at: Time
    action: str = Field(description="noun.verb", examples=["job.create"])
    target_id: str | None
    outcome: Literal["done", "refused"]
    reason: str | None = Field(description="The code of the refusal.")
    key_id: str | None = Field(description="The key of the request.")
    key_name: str | None = Field(description="The name that the key has now.")
    actor: str | None = Field(description="Who, where it was no request: an operator's account, user@host.")
    request_id: str | None
    remote_addr: str | None

    @classmethod
    def of(cls, row: TrailEntry, key_names: Mapping[str, str]) -> TrailEntryOut:
        """`key_names`: by the keys' ids."""
        return cls.of_row(row, key_name=key_names.get(row.key_id or ""))


class TrailPage(Page[TrailEntryOut]):
    pass
