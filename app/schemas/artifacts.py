"""Artifacts on the wire: the files that a finished job left, with their digests."""

from __future__ import annotations

from typing import Literal

from app.db.models.job import Artifact
from app.schemas.common import Page, Time, WireOut
from app.schemas.jobs import SignatureOut


class ArtifactLinks(WireOut):
    content: str
    job: str


class ArtifactOut(WireOut):
    """A file. `links.content` redirects to a short-lived URL that serves ranges."""

    object: Literal["artifact"] = "artifact"
    id: str
    job_id: str
    name: str
    size_bytes: int
    sha256: str
    media_type: str
    created_at: Time
    links: ArtifactLinks

    @classmethod
    def of(cls, row: Artifact) -> ArtifactOut:
        links = ArtifactLinks(content=f"/v1/artifacts/{row.id}/content", job=f"/v1/jobs/{row.job_id}")
        return cls.of_row(row, links=links)


class ArtifactPage(Page[ArtifactOut]):
    """Artifacts of one job, and whether its operator vouches for them."""

    signature: SignatureOut
