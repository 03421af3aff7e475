"""What a project may use and what it does."""

from dataclasses import dataclass
from enum import StrEnum


class QuotaName(StrEnum):
    RUNNING_JOBS = "running_jobs"
    WAITING_JOBS = "waiting_jobs"
    STORED_BYTES = "stored_bytes"
    BYTES_IN_FLIGHT = "bytes_in_flight"
    OPEN_UPLOADS = "open_uploads"
    ROW_BYTES = "row_bytes"
    REQUESTS_PER_MINUTE = "requests_per_minute"


class ProcessShare(StrEnum):
    """What each API process counts by itself; the same for every project."""

    OPEN_STREAMS = "open_streams"


@dataclass(frozen=True, kw_only=True)
class QuotaLimits:
    """The limits that hold for one project: its own, or the defaults."""

    running_jobs: int
    waiting_jobs: int
    stored_bytes: int
    bytes_in_flight: int
    open_uploads: int
    row_bytes: int
    requests_per_minute: int


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a project uses now and may use; the request rate is the broker's to tell."""

    limits: QuotaLimits
    running_jobs: int
    waiting_jobs: int
    stored_bytes: int
    bytes_in_flight: int
    open_uploads: int
    row_bytes: int


@dataclass(frozen=True, kw_only=True)
class QuotaUse:
    """`current` of `limit` is used; in a refusal, `wanted` more was asked for."""

    name: QuotaName | ProcessShare
    limit: int
    current: int
    wanted: int = 1
