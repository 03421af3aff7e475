"""Settings of connections; the group `connections` of app.settings."""

from __future__ import annotations

from pydantic import Field

from app.settings_group import Group

_KIB = 1024


class ConnectionSettings(Group):
    """What one peer may cost before a request of it is known. Of each API process."""

    max_head_bytes: int = Field(default=32 * _KIB, ge=4 * _KIB, le=1024 * _KIB)
    """Request line and headers together (431); also the data between two chunks of a chunked body."""
    max_header_lines: int = Field(default=100, ge=16, le=1000)
    """Headers of one request, trailers included (431)."""
    head_timeout_s: float = Field(default=10.0, gt=0, le=120)
    """From the connection's start, or from a later request's first byte, until the head is complete (408)."""
    keep_alive_s: int = Field(default=5, ge=1, le=600)
    """A connection without a request is kept for so long after an answer."""
    max_open: int = Field(default=1000, ge=16, le=100_000)
    """Connections of all peers together. Above it, the connection that has been idle longest is closed (503
    if none is idle)."""
    max_per_address: int = Field(default=200, ge=0, le=100_000)
    """Connections of one address (IPv6: of one /64), but for trusted proxies (429). 0: no limit."""
