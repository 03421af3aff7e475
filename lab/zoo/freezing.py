"""Keeps the held-out models closed until thresholds are frozen in a commit. Knows no detector.

`docs/scanning/frozen.json` names the significance, the size of each null, and the digests of the plan and of
the detectors' code (`lab.freezing`). A row of a closed split can neither be made nor read without it. A row
is made only while plan and detectors are the frozen ones; it names its detectors, and stays readable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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
    @property
    def made_with(self) -> Mapping[str, str]: ...


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
        """The committed file. Raises HeldOut if it is missing, edited or damaged."""
        frozen = read_frozen(self._root, FROZEN, _ADAPTER, {})
        if not any(frozen.num_null.values()):
            raise HeldOut(f"{FROZEN} names no null.")
        return frozen

    def check(self, split: Split) -> None:
        """Raises HeldOut if models of this split may not be made now: nothing, or other code, is frozen."""
        if split not in OPEN_SPLITS:
            versions = {"plan_sha256": self._plan_sha256, "detectors_sha256": self._detectors_sha256}
            read_frozen(self._root, FROZEN, _ADAPTER, versions)
            self.frozen()

    def admit(self, rows: Iterable[SomeRow]) -> list[SomeRow]:
        """The rows. Raises HeldOut if one of them is closed, or was looked at with detectors that were not
        frozen."""
        admitted = list(rows)
        for row in admitted:
            if row.split in OPEN_SPLITS:
                continue
            frozen = self.frozen()
            if row.made_with.get("detectors_sha256", frozen.detectors_sha256) != frozen.detectors_sha256:
                raise HeldOut(f"A row of the split {row.split} was made with detectors that were not frozen.")
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
