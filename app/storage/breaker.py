"""`Breaker`: after some failures in a row nobody is asked for a while; then one call tries, for all.

Why it is our own: docs/decisions/0074-the-store-has-a-bulkhead.md.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.storage.errors import StoreRefused, StoreUnavailable


class Breaker:
    """Counts StoreUnavailable alone: any other error is an answer. Safe to share between threads."""

    def __init__(
        self,
        *,
        max_failures: int = 5,
        open_s: float = 5.0,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_failures = max_failures
        self._open_s = open_s
        self._now_s = now_s
        self._lock = threading.Lock()
        self._failures = 0
        self._closed_again_at_s = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the store failed often enough that calls are refused, but for one that tries."""
        return self._failures >= self._max_failures

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Around one call. Raises StoreRefused instead of letting it through while open."""
        self._admit()
        try:
            yield
        except StoreRefused:
            raise  # by the caller's own bounds: says nothing of the store
        except StoreUnavailable:
            with self._lock:
                self._failures += 1
                self._closed_again_at_s = self._now_s() + self._open_s
            raise
        except BaseException:
            self._answered()
            raise
        self._answered()

    def _admit(self) -> None:
        with self._lock:
            if not self.is_open:
                return
            left_s = self._closed_again_at_s - self._now_s()
            if left_s > 0:
                raise StoreRefused(
                    "the object store failed several times in a row", reason="open", retry_after_s=left_s
                )
            self._closed_again_at_s = self._now_s() + self._open_s  # this call tries; the others wait for it

    def _answered(self) -> None:
        with self._lock:
            self._failures = 0
