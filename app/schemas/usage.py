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
        limits = usage.limits
        return cls(
            running_jobs=UseOut(limit=limits.running_jobs, current=usage.running_jobs),
            waiting_jobs=UseOut(limit=limits.waiting_jobs, current=usage.waiting_jobs),
            stored_bytes=UseOut(limit=limits.stored_bytes, current=usage.stored_bytes),
            bytes_in_flight=UseOut(limit=limits.bytes_in_flight, current=usage.bytes_in_flight),
            open_uploads=UseOut(limit=limits.open_uploads, current=usage.open_uploads),
            row_bytes=UseOut(limit=limits.row_bytes, current=usage.row_bytes),
            requests_per_minute=UseOut(limit=limits.requests_per_minute, current=num_requests),
        )
