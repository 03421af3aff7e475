"""Jobs as lists show them, written to JSON once for each version.

A job's version grows with every visible change, which is what its ETag rests on, too. So a list reads ids and
versions, and of all else what it has not written yet. Nobody gets a job from here whom the database did not
just show its id. One dictionary per process; lists of a process come one after the other.
"""

from collections.abc import Iterable, Mapping

MOST_BYTES = 16 * 1024 * 1024


class WrittenJobs:
    """Keeps at most `most_bytes` of JSON; what was written first goes first."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._num_bytes = 0
        self._kept: dict[str, tuple[int, bytes]] = {}

    def of(self, versions: Mapping[str, int]) -> dict[str, bytes]:
        """By id, those that are kept in that version."""
        found = ((id, self._kept.get(id)) for id in versions)  # noqa: A001
        return {id: kept[1] for id, kept in found if kept is not None and kept[0] == versions[id]}  # noqa: A001

    def keep(self, written: Iterable[tuple[str, int, bytes]]) -> None:
        """Each with its id and version."""
        for id, version, text in written:  # noqa: A001
            self._forget(id)
            self._kept[id] = (version, text)
            self._num_bytes += len(text)
        while self._num_bytes > self._most_bytes:
            self._forget(next(iter(self._kept)))

    def _forget(self, id: str) -> None:  # noqa: A002
        if (kept := self._kept.pop(id, None)) is not None:
            self._num_bytes -= len(kept[1])
