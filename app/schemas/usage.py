"""What a project uses and may use, on the wire; and the limit that a refusal is about."""

from __future__ import annotations

from typing import Literal

from app.domain.quotas import Usage
from app.schemas.common import WireOut


class UseOut(WireOut):
    """`current` of at most `limit`."""

    limit: int
    current: int


class UsageOut(WireOut):
    """Of the project that the key belongs to, at this moment."""

    object: Literal["usage"] = "usage"
    running_jobs: UseOut
    """At once, in each queue; more wait for their turn."""
    waiting_jobs: UseOut
    stored_bytes: UseOut
    bytes_in_flight: UseOut
    open_uploads: UseOut
    row_bytes: UseOut
    """Of the database: 16 KiB for each job, 4 KiB for each other row, and what is larger by its size."""
    requests_per_minute: UseOut

    @classmethod
    def of(cls, usage: Usage, num_requests: int) -> UsageOut:
        current = {"requests_per_minute": num_requests} | vars(usage)
        uses = {
            name: UseOut(limit=limit, current=current[name]) for name, limit in vars(usage.limits).items()
        }
        return cls(**uses)
