"""Nulls on the wire: what reference models that were never poisoned measured, by which scans are judged."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from app.db.models import assets as rows
from app.schemas.common import Page, Sha256, Time, WireOut
from cleanclip.vocabulary.measures import Count, Ratio
from cleanclip.vocabulary.scan_options import ScanOptions


class NullLinks(WireOut):
    self: str


class NullOut(WireOut):
    """A scan is judged by it if architecture, class list, image set, options, seed and anchor agree."""

    object: Literal["null"] = "null"
    id: str
    name: str
    about: str = Field(description="What its models are, by whoever built it.")
    sha256: Sha256 = Field(description="Over its content; reports of scans repeat it.")
    size_bytes: Count
    num_models: Count
    smallest_p: Ratio = Field(description="The smallest p-value that so many models allow: 1 / (n + 1).")
    architecture: dict[str, Any]
    class_names_sha256: str
    num_classes: Count
    images_sha256: str
    options: ScanOptions
    seed: int
    anchor_sha256: str | None = Field(description="Of the anchor's weights. null: its models had none.")
    fine_tunes_of: str | None = Field(
        description="All its models are fine-tunes of this one: it judges others of them, and only where an "
        "order names it. null: it judges any model."
    )
    signing_key_sha256: Sha256 | None = Field(
        description="Id of the key that signed its file. null: no signature was checked when it was added."
    )
    built_at: datetime
    created_at: Time
    links: NullLinks

    @classmethod
    def of(cls, row: rows.NullSet) -> NullOut:
        ours = cls.model_fields.keys() - {"created_at", "name"}
        facts = {name: value for name, value in row.facts.items() if name in ours}
        return cls.of_row(
            row,
            **facts,
            smallest_p=1 / (row.num_models + 1),
            built_at=row.facts["created_at"],
            links=NullLinks(self=f"/v1/nulls/{row.id}"),
        )


class NullPage(Page[NullOut]):
    """Nulls, newest first."""
