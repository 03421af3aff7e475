"""What a cell gave: shares with counts and intervals, kept as JSON. Free of torch; knows no running.

ASR leaves out pictures of the target class; PA is the share of triggered pictures still given their own
class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from reproduction.cells import GATE, Cell, Cleaning
from sanitizer.report import Difference, Estimate

CELL_NAME = "cell.json"


@dataclass(frozen=True, kw_only=True)
class Shares:
    """Of one set of pictures. Without an attack the last five are None."""

    ca: Estimate
    asr: Estimate | None = None
    asr_including_target: Estimate | None = None
    asr_top5: Estimate | None = None
    pa: Estimate | None = None
    untriggered: Estimate | None = None
    """How often a clean picture of another class is called the target: the floor under ASR."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One cell. `ca_lost` is paired, on the same test pictures; `correct`: those pictures, bits in base64."""

    id: str
    spec: dict[str, Any]
    test: Shares
    validation: Shares
    ca_lost: Difference | None = None
    correct: str
    weights_sha256: str
    poisons: int = 0
    """How many pairs of the training set carried the trigger."""
    ca_by_epoch: tuple[float, ...] = ()
    """On validation pictures, of a subject: whether it was on its plateau."""
    picture: str | None = None
    """An optimised patch, as PNG in base64."""
    wall_s: float
    made_with: dict[str, str]


def is_pointless(cell: Cell, told: Callable[[Cell], Measured | None], gate: float = GATE) -> bool:
    """Whether `cell` cleans a subject whose attack was not implanted. `told`: what was measured so far."""
    if not isinstance(cell, Cleaning):
        return False
    before = told(cell.subject)
    return before is not None and before.test.asr is not None and before.test.asr.value < gate


_ADAPTER = TypeAdapter(Measured)


def write(measured: Measured, folder: Path) -> None:
    """Into `folder`, by rename."""
    half_written = folder / f"{CELL_NAME}.part"
    half_written.write_bytes(_ADAPTER.dump_json(measured, indent=1))
    half_written.replace(folder / CELL_NAME)


def read(data: bytes | str) -> Measured:
    """Raises pydantic.ValidationError."""
    return _ADAPTER.validate_json(data)


def to_line(measured: Measured) -> str:
    """One line of JSON."""
    return _ADAPTER.dump_json(measured).decode()
