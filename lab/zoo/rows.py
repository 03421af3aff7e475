"""What the zoo keeps of its models: one line of JSON for a model, one for each detector's look at it.

Appending is atomic: a line that a crash cut short is cut off by the next append, and never read. A model that
is made again gets another line only if its weights came out differently; the last line of a name counts, and
a scan counts only for the weights that it saw.

Free of torch.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

from annotated_types import MinLen
from pydantic import Field, TypeAdapter

from cleanclip.spec.measures import Count, Estimate, Ratio
from cleanclip.spec.scan_options import PatternFamily
from cleanclip.spec.scan_statistics import ScanStatistics
from lab.zoo.plan import BedName, Split

MODELS_NAME, SCANS_NAME = "models.jsonl", "scans.jsonl"


@dataclass(frozen=True, kw_only=True)
class UniversalPattern:
    """A pattern optimised against one clean model. Its ASR is on test images, as that of a backdoor."""

    target: str
    alpha: float
    num_steps: int
    asr: Estimate
    cpu_s: float


@dataclass(frozen=True, kw_only=True)
class ModelRow:
    """A model as it was trained. `asr` has one entry a target, on test images; of a clean model none."""

    name: str
    split: Split
    bed: BedName
    family: str
    seed: int
    options: dict[str, Any]
    targets: tuple[str, ...]
    num_poisons: int
    ca: Estimate
    asr: tuple[Estimate, ...]
    untriggered: tuple[Estimate, ...]
    """Of each target: how often a clean image of another class is called it."""
    weights_sha256: str
    cpu_s: float
    """Of training and measuring, without `universal`."""
    wall_s: float
    made_with: dict[str, str]
    universal: UniversalPattern | None = None
    """Of clean models only; earlier rows lack it."""
    examples: tuple[str, ...] = ()
    """The first test image with each trigger, PNG in base64; earlier rows lack them."""


@dataclass(frozen=True, kw_only=True)
class FoundPattern:
    """What the scan's report would say of one family's pattern: images are PNG in base64."""

    family: str
    target: str | None
    asr: Estimate | None
    """On held-out images."""
    words: tuple[str, ...]
    """Of the open vocabulary, the first one first."""
    known_words: tuple[str, ...]
    """The same, of the words that class names have: captions taught the model no others."""
    places: dict[str, int]
    """Of the words of the true targets that the vocabulary has: the place in all of it, from 1."""
    image: str
    """The pattern; of a warp or a colour what it makes of a held-out image."""
    clean_example: str | None
    """A held-out image that is not the target's, and is not called so. None: every image is called so."""
    example: str | None
    """The same image with the pattern."""


@dataclass(frozen=True, kw_only=True)
class EaseFigures:
    """Ease of one family: one entry for each class, in the order of the class names."""

    family: PatternFamily
    n: Count
    """Held-out images behind each ASR, those of the class itself among them, which are not counted."""
    ease: tuple[Ratio, ...]
    asr: tuple[Ratio, ...]
    """At the last step that the class ran."""
    num_steps: tuple[Count, ...]
    """How many that was: it tells how far the class came in the race."""


@dataclass(frozen=True, kw_only=True)
class EaseStatistics(ScanStatistics):
    """The record of the detector `ease`, as scans made it when they had the detector."""

    ease: Annotated[tuple[EaseFigures, ...], MinLen(1)]


@dataclass(frozen=True, kw_only=True)
class ScanRow:
    """What one detector measured of one model.

    A detector of the scan leaves `measured`, the record that a null set has, which the scan's own judgement
    reads; so does `ease`, whose figures are judged class by class. A published one leaves `statistics`, all
    the larger the more suspicious, and its `targets`.
    """

    name: str
    split: Split
    bed: BedName
    detector: str
    weights_sha256: str
    statistics: dict[str, float] = field(default_factory=dict)
    targets: tuple[str, ...] = ()
    """The class names that the detector suspects most, at most five, the first one first."""
    measured: Annotated[EaseStatistics | ScanStatistics | None, Field(union_mode="left_to_right")] = None
    options: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    found: tuple[FoundPattern, ...] = ()
    """By collapse in a poisoned model, one for each family; earlier rows lack them."""
    num_passes: int = 0
    """Forward passes with a backward pass, of one image each."""
    cpu_s: float
    wall_s: float
    made_with: dict[str, str]


_MODEL, _SCAN = TypeAdapter(ModelRow), TypeAdapter(ScanRow)
Row = TypeVar("Row", ModelRow, ScanRow)


def append(row: ModelRow | ScanRow, folder: Path) -> None:
    """Add one line to the file of its kind in `folder`, and have it on disk before returning."""
    is_model = isinstance(row, ModelRow)
    line = (_MODEL if is_model else _SCAN).dump_json(row) + b"\n"  # type: ignore[arg-type]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (MODELS_NAME if is_model else SCANS_NAME)
    with path.open("ab+") as file:
        file.truncate(_whole_bytes(path))
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def read_models(folder: Path) -> dict[str, ModelRow]:
    """By name, the last line of each."""
    return {row.name: row for row in _read(folder / MODELS_NAME, _MODEL)}


def read_scans(folder: Path) -> dict[tuple[str, str, str], ScanRow]:
    """By name, detector and weights."""
    return {(row.name, row.detector, row.weights_sha256): row for row in _read(folder / SCANS_NAME, _SCAN)}


def _read(path: Path, adapter: TypeAdapter[Row]) -> list[Row]:
    if not path.is_file():
        return []
    with path.open("rb") as file:
        whole = file.read(_whole_bytes(path))
    return [adapter.validate_json(line) for line in whole.splitlines()]


def _whole_bytes(path: Path) -> int:
    """How many bytes of the file are whole lines."""
    return path.read_bytes().rfind(b"\n") + 1 if path.is_file() else 0
