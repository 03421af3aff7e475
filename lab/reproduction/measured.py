"""What a cell gave: shares with counts and intervals, kept as JSON. Free of torch.

ASR leaves out images of the target class; PA is the share of triggered images still given their own
class. What is compared was measured on the same images of one and the same model: `contradiction`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from cleanclip.vocabulary.measures import Difference, Estimate
from lab.reproduction.cells import GATE, Cell, Cleaning
from sanitizer.audits.statistics import paired_difference
from sanitizer.whole_files import write_whole

CELL_NAME = "cell.json"


@dataclass(frozen=True, kw_only=True)
class Shares:
    """Of one set of images. Without an attack the last five are None."""

    ca: Estimate
    asr: Estimate | None = None
    asr_including_target: Estimate | None = None
    asr_top5: Estimate | None = None
    pa: Estimate | None = None
    untriggered: Estimate | None = None
    """How often a clean image of another class is called the target: the floor under ASR."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One cell. `ca_lost` is paired, on the same test images; `correct`: those images, bits in base64."""

    id: str
    spec: dict[str, Any]
    test: Shares
    validation: Shares
    ca_lost: Difference | None = None
    correct: str
    weights_sha256: str
    from_weights_sha256: str | None = None
    """Of the subject that a cleaning or a control started from; None for a subject and in older lines."""
    poisons: int = 0
    """How many pairs of the training set carried the trigger."""
    ca_by_epoch: tuple[float, ...] = ()
    """On validation images, of a subject: whether it was on its plateau."""
    picture: str | None = None
    """An optimised pattern, as PNG in base64."""
    wall_s: float
    made_with: dict[str, str]

    @property
    def is_right(self) -> list[bool]:
        """For each test image whether it was classified right untriggered."""
        return unpacked(self.correct, self.test.ca.n)


def is_implanted(run: Measured, gate: float = GATE) -> bool:
    """Whether the attack of a subject works, so that a defence can be judged by it; of no attack, it does."""
    return run.test.asr is None or run.test.asr.value >= gate


def is_pointless(cell: Cell, reported: Callable[[Cell], Measured | None], gate: float = GATE) -> bool:
    """Whether `cell` cleans a subject whose attack was not implanted, by what was `reported` so far."""
    before = reported(cell.subject) if isinstance(cell, Cleaning) else None
    return before is not None and not is_implanted(before, gate)


def contradiction(before: Measured, after: Measured) -> str | None:
    """Why `after` cannot have started from `before`; None where nothing speaks against it.

    A model trained again on another machine has other weights under the same name. Lines of before
    `from_weights_sha256` are judged by the images that were lost and gained, which only one `before` gives.
    """
    if after.from_weights_sha256 not in (None, before.weights_sha256):
        return f"started from the weights {after.from_weights_sha256}, not from {before.weights_sha256}"
    if after.ca_lost is None:
        return None
    found = paired_difference(before.is_right, after.is_right)
    if (found.lost, found.gained) == (after.ca_lost.lost, after.ca_lost.gained):
        return None
    return (
        f"says that {after.ca_lost.lost} images were lost and {after.ca_lost.gained} gained;"
        f" from this model it would be {found.lost} and {found.gained}"
    )


def packed(correct: Sequence[bool]) -> str:
    """Booleans as bits in base64, to compare the same images before and after."""
    return base64.b64encode(np.packbits(np.array(correct, dtype=bool)).tobytes()).decode()


def unpacked(bits: str, num_images: int) -> list[bool]:
    """The inverse of `packed`. Raises ValueError if there are fewer bits."""
    packed_bits = np.frombuffer(base64.b64decode(bits), dtype=np.uint8)
    found = [bool(bit) for bit in np.unpackbits(packed_bits)[:num_images]]
    if len(found) != num_images:
        raise ValueError(f"{len(found)} bits for {num_images} images")
    return found


_ADAPTER = TypeAdapter(Measured)


def write(measured: Measured, folder: Path) -> None:
    """Into `folder`, by rename."""
    write_whole(folder / CELL_NAME, _ADAPTER.dump_json(measured, indent=1))


def read(data: bytes | str) -> Measured:
    """Raises pydantic.ValidationError."""
    return _ADAPTER.validate_json(data)


def to_line(measured: Measured) -> str:
    """One line of JSON. A line from before `from_weights_sha256` comes out as it went in."""
    left_out = {"from_weights_sha256"} if measured.from_weights_sha256 is None else None
    return _ADAPTER.dump_json(measured, exclude=left_out).decode()
