"""Keys recognised a moment ago, so that a client that polls is not looked up for every request.

A key that is revoked or expires is refused at the latest `keep_s` seconds later, at once in the process
that revoked it (`forget`). Only success is kept: an unknown key is asked for every time. Keyed by the digest
of the whole key, never its text. One dictionary per process, used by its event loop and its threads.
"""

import time
from collections.abc import Callable
from dataclasses import replace

from app.services.api_keys import Caller

MAX_KEPT = 10_000


class RecognisedKeys:
    """`keep_s` = 0 keeps nothing. `now_s` is a monotonic clock."""

    def __init__(self, keep_s: float, *, now_s: Callable[[], float] = time.monotonic) -> None:
        self._keep_s = keep_s
        self._now_s = now_s
        self._kept: dict[str, tuple[float, Caller]] = {}

    def get(self, secret_sha256: str, *, request_id: str, remote_addr: str | None) -> Caller | None:
        """The holder of the key, as one who makes this request; None where the database must be asked."""
        kept = self._kept.get(secret_sha256)
        if kept is None or kept[0] <= self._now_s():
            return None
        return replace(kept[1], request_id=request_id, remote_addr=remote_addr)

    def keep(self, secret_sha256: str, caller: Caller, *, asked_at_s: float) -> None:
        """Remember a caller whom the database knew when it was asked at `asked_at_s` (of `now_s`)."""
        if self._keep_s <= 0:
            return
        if len(self._kept) >= MAX_KEPT:
            self._kept.clear()
        self._kept[secret_sha256] = (asked_at_s + self._keep_s, caller)

    def now_s(self) -> float:
        return self._now_s()

    def forget(self, key_id: str) -> None:
        """The key was changed by this process: ask the database for it next time."""
        for digest, (_, caller) in list(self._kept.items()):
            if caller.key_id == key_id:
                self._kept.pop(digest, None)
