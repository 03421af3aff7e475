"""Keeps the held-out models closed until thresholds are frozen in a commit. Knows no detector.

`docs/scanning/frozen.json` names the significance, the size of each null, and the digests of the plan and of
the detectors' code (`lab.freezing`). A row of a closed split can neither be made nor read without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from pydantic import TypeAdapter

from lab.freezing import HeldOut, read_frozen
from lab.zoo.plan import OPEN_SPLITS, Split

FROZEN = Path("docs/scanning/frozen.json")
"""Below the repository's root."""


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """What was decided before the held-out models were opened."""

    significance: float
    """A model fails at a p-value of this or less: the scan's option."""
    num_null: dict[str, int]
    """Of each bed the calibration models that judge, from number 0."""
    plan_sha256: str
    detectors_sha256: str
    note: str = ""


_ADAPTER = TypeAdapter(Frozen)


class _OfASplit(Protocol):
    @property
    def split(self) -> Split: ...


class _Named(_OfASplit, Protocol):
    @property
    def name(self) -> str: ...
    @property
    def bed(self) -> str: ...


NamedRow = TypeVar("NamedRow", bound=_Named)
SomeRow = TypeVar("SomeRow", bound=_OfASplit)


class Gate:
    """Says which splits are open in a repository. `detectors_sha256` is of the code that would run now."""

    def __init__(
        self, root: Path, *, plan_sha256: Callable[[], str], detectors_sha256: Callable[[], str]
    ) -> None:
        self._root = root
        self._plan_sha256, self._detectors_sha256 = plan_sha256, detectors_sha256

    def frozen(self) -> Frozen:
        """The committed file. Raises HeldOut if it is missing, edited, damaged, or of other code."""
        versions = {"plan_sha256": self._plan_sha256, "detectors_sha256": self._detectors_sha256}
        frozen = read_frozen(self._root, FROZEN, _ADAPTER, versions)
        if not any(frozen.num_null.values()):
            raise HeldOut(f"{FROZEN} names no null.")
        return frozen

    def check(self, split: Split) -> None:
        """Raises HeldOut if models of this split may not be looked at yet."""
        if split not in OPEN_SPLITS:
            self.frozen()

    def admit(self, rows: Iterable[SomeRow]) -> list[SomeRow]:
        """The rows. Raises HeldOut if one of them may not be looked at yet."""
        admitted = list(rows)
        for split in {row.split for row in admitted}:
            self.check(split)
        return admitted

    def null_of(self, rows: Iterable[NamedRow]) -> list[NamedRow]:
        """The rows without calibration models that came after the freezing: they judge nothing."""
        try:
            num_null = self.frozen().num_null
        except HeldOut:
            return list(rows)
        return [
            row
            for row in rows
            if row.split != "calibration" or int(row.name.rsplit("-", 1)[1]) < num_null.get(row.bed, 0)
        ]
