"""What a drill is: a module with NAME, TITLE and `run`, which breaks something often and reports rows.

Does not depend on any one drill. A long drill does its work in pieces (`Place.piece`): each is kept as it is
done, so that a run that was cut goes on where it stopped.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from sanitizer.whole_files import write_whole


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: one thing that was broken, `times` times."""

    broken: str
    times: int
    expected: str
    happened: str
    ok: bool
    lost: int = 0
    doubled: int = 0
    recovery_s: float | None = None
    """The longest time from the break to the end of the disturbance; None where there is no such time."""


class OutOfTime(Exception):
    """The time for this run is over; what is done is kept, and the next run goes on from there."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a drill works. `folder` is its own and empty at first; `say` takes a sentence for the reader."""

    folder: Path
    seed: int
    say: Callable[[str], None]
    ends_at: float = float("inf")
    """On `time.monotonic()`: no piece begins after it."""
    cut: list[str] = field(default_factory=list)
    """Pieces that this run had no time for: then the record is a partial one."""

    def pieces(self, works: Mapping[str, Callable[[], dict[str, Any]]]) -> list[dict[str, Any]]:
        """`piece` for each; those there is no time for are left out and noted in `cut`."""
        found = []
        for name, work in works.items():
            try:
                found.append(self.piece(name, work))
            except OutOfTime:
                self.cut.append(name)
        return found

    def piece(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What `work` returned (JSON), now or in an earlier run that was cut. Raises OutOfTime."""
        path = self.folder / "pieces" / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name)}.json"
        if path.exists():
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return found
        if time.monotonic() > self.ends_at:
            raise OutOfTime(f"stopped before {name!r}")
        result = work()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(result, indent=1))
        return result


class Drill(Protocol):
    """A module of this package that has these three."""

    NAME: str
    TITLE: str

    def run(self, place: Place, *, quick: bool) -> list[Row]:
        """Break things; raise only where the drill itself cannot be done."""
        ...
