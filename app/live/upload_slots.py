"""Places for streaming uploads (`PUT …/content`) in one process, shared so that no project can take all."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from app.domain.errors import Unavailable

_TRY_AGAIN_AFTER_S = 30


class UploadSlots:
    """`num` places: each stream holds up to three parts in memory. Used by one event loop.

    A project that holds n gets another only while more than n are free: half of them (rounded up) at most,
    and one that holds none gets the last.
    """

    def __init__(self, num: int) -> None:
        self._num = num
        self._held: Counter[str] = Counter()

    @contextmanager
    def one_for(self, project_id: str) -> Iterator[None]:
        """A place while the block lasts. Raises Unavailable (`uploads_busy`)."""
        held, num_free = self._held[project_id], self._num - self._held.total()
        if num_free <= held:
            raise Unavailable(
                "uploads_busy",
                f"{self._num - num_free} of {self._num} places for streaming uploads are taken,"
                f" {held} of them by this project.",
                "Try again in a while, or upload in parts, which has no such limit.",
                retry_after_s=_TRY_AGAIN_AFTER_S,
            )
        self._held[project_id] += 1
        try:
            yield
        finally:
            self._held[project_id] -= 1
            self._held += Counter()  # forgets who holds none
