"""Checkpoints on the wire: what was uploaded, what the inspection found, or why it was rejected."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from app.db.models.assets import Checkpoint
from app.db.repositories.verdicts import FoundVerdicts
from app.domain.sources import MAX_SOURCE_CHARACTERS, without_query
from app.domain.verdicts import MOST_IN_LISTS, MOST_SHOWN
from app.schemas.common import Page, Sha256, StoredProblem, Time, WireIn, WireOut
from app.schemas.verdicts import VerdictOut
from cleanclip.vocabulary.bounds import NUMBER
from cleanclip.vocabulary.recipe import DeclaredOptions, parse


class CheckpointIn(WireIn):
    """A checkpoint that the service fetches itself."""

    source: Annotated[
        str,
        Field(
            min_length=1,
            max_length=MAX_SOURCE_CHARACTERS,
            examples=["hf://openai/clip-vit-base-patch32@main"],
            description="hf://OWNER/NAME[@REVISION][/PATH] (without PATH the file of weights with a usual "
            "name), an https address, or s3://BUCKET/KEY.",
        ),
    ]
    sha256: Sha256 | None = None
    max_size_bytes: Annotated[int, Field(ge=1), NUMBER] | None = Field(
        default=None,
        description="A larger file is refused. Counts in your quota until the file is there. Default: the "
        "largest upload that the service takes.",
    )
    declared: DeclaredOptions | None = Field(
        default=None, description="What the checkpoint's tensors do not say."
    )


class SourceOut(WireOut):
    """Where a checkpoint was fetched from. What is not known yet, or not reported by its server, is null."""

    ordered: Annotated[str, AfterValidator(without_query)] = Field(
        description="As it was named; of an address without its query, which may hold a signature."
    )
    commit: str | None = Field(default=None, description="Of a hub: what the revision was, looked up once.")
    path: str | None = Field(default=None, description="Of a hub: the file.")
    size_bytes: int | None = None
    sha256: str | None = None
    fetched_at: Time | None = None


class CheckpointLinks(WireOut):
    self: str
    upload: str


class ScannerOut(WireOut):
    """What another scanner said of the uploaded bytes. Evidence only: our own gate decided."""

    name: str
    version: str | None
    verdict: str = Field(examples=["nothing_found", "suspicious", "not_applicable"])
    num_issues: int
    issues: list[str] = Field(description="The first of them, one line each.")


_OF_INSPECTION = (
    "layout",
    "architecture",
    "architecture_name",
    "num_parameters",
    "dtype",
    "assumed",
    "findings",
    "scanners",
)


class CheckpointOut(WireOut):
    """A checkpoint: quarantined → scanning → accepted | rejected. Jobs take accepted ones."""

    object: Literal["checkpoint"] = "checkpoint"
    id: str
    state: Literal["quarantined", "scanning", "accepted", "rejected"]
    filename: str
    size_bytes: int = Field(description="Of a source that is not fetched yet: the most that it may have.")
    source: SourceOut | None = Field(description="Null for a file that was uploaded.")
    sha256: str | None = Field(description="Of the uploaded bytes, computed by us.")
    weights_sha256: str | None = Field(description="Of the canonical safetensors file that jobs read.")
    declared: DeclaredOptions
    layout: str | None
    architecture: dict[str, Any] | None = Field(description="Null in lists.")
    architecture_name: str | None = Field(examples=["ViT-B/32"])
    num_parameters: int | None
    dtype: str | None
    assumed: dict[str, str] | None = Field(
        description="Option → why it has the value that it has. Null in lists."
    )
    findings: list[str] | None = Field(description="Null in lists.")
    scanners: list[ScannerOut] | None = Field(
        description="For information only: our own checks decide. Null in lists."
    )
    error: StoredProblem | None
    verdicts: list[VerdictOut] = Field(
        description="Of finished jobs on the same weights, whichever checkpoint they came from: worst first."
        f" At most {MOST_SHOWN}, and {MOST_IN_LISTS} in lists."
    )
    num_verdicts: int = Field(description="How many there are, counted up to 1,000.")
    created_at: Time
    updated_at: Time
    links: CheckpointLinks

    @classmethod
    def of(cls, row: Checkpoint, verdicts: FoundVerdicts) -> CheckpointOut:
        return cls.of_stored(
            dict.fromkeys(_OF_INSPECTION) | (row.inspection or {}),
            **cls.in_row(
                row,
                declared=parse(DeclaredOptions, row.declared or {}),
                source=None if row.source is None else SourceOut.of_stored(row.source),
                error=StoredProblem.of(row.error),
                verdicts=[VerdictOut.of(verdict) for verdict in verdicts.rows],
                num_verdicts=verdicts.num,
                links=CheckpointLinks(
                    self=f"/v1/checkpoints/{row.id}", upload=f"/v1/uploads/{row.upload_id}"
                ),
            ),
        )


class CheckpointPage(Page[CheckpointOut]):
    """Checkpoints, newest first."""
