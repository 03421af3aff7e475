"""What the zoo keeps of its models: one line of JSON for a model, one for each detector's look at it.

Appending is atomic: a line that a crash cut short is cut off by the next append, and never read. A model that
is made again gets another line only if its weights came out differently; the last line of a name counts, and
a look counts only for the weights that it saw. The published files hold more: splits, detectors and fields
of studies whose code left the lab (docs/decisions/0094). They are passed over.

Free of torch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import TypeAdapter

from cleanclip.vocabulary.measures import Estimate
from cleanclip.vocabulary.scan_options import Detector
from cleanclip.vocabulary.scan_statistics import ScanStatistics
from lab.zoo.plan import SPLITS, BedName, Split

MODELS_NAME, SCANS_NAME = "models.jsonl", "scans.jsonl"
DETECTORS: tuple[Detector, ...] = get_args(Detector)


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
    weights_sha256: str
    cpu_s: float
    """Of training and measuring."""
    wall_s: float
    made_with: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class ScanRow:
    """What one detector measured of one model: the record that a null set has, which a scan judges by."""

    name: str
    split: Split
    bed: BedName
    detector: Detector
    weights_sha256: str
    measured: ScanStatistics
    options: dict[str, Any] = field(default_factory=dict)
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
    append_line(line, folder / (MODELS_NAME if is_model else SCANS_NAME))


def append_line(line: bytes, path: Path) -> None:
    """Add `line` behind the whole lines of the file, and have it on disk before returning."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        file.truncate(_whole_bytes(path))
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def whole_lines(path: Path) -> list[bytes]:
    """Of a file that may not be there, or that a crash cut short."""
    if not path.is_file():
        return []
    with path.open("rb") as file:
        return file.read(_whole_bytes(path)).splitlines()


def read_models(folder: Path) -> dict[str, ModelRow]:
    """By name, the last line of each."""
    rows = _read(folder / MODELS_NAME, _MODEL, lambda line: line["split"] in SPLITS)
    return {row.name: row for row in rows}


def read_scans(folder: Path) -> dict[tuple[str, str, str], ScanRow]:
    """By name, detector and weights. Looks of before there was a record are passed over."""
    rows = _read(
        folder / SCANS_NAME,
        _SCAN,
        lambda line: line["split"] in SPLITS and line["detector"] in DETECTORS and bool(line.get("measured")),
    )
    return {(row.name, row.detector, row.weights_sha256): row for row in rows}


def _read(path: Path, adapter: TypeAdapter[Row], is_read: Callable[[dict[str, Any]], bool]) -> list[Row]:
    lines = map(json.loads, whole_lines(path))
    return [adapter.validate_json(json.dumps(line)) for line in lines if is_read(line)]


def _whole_bytes(path: Path) -> int:
    """How many bytes of the file are whole lines."""
    return path.read_bytes().rfind(b"\n") + 1 if path.is_file() else 0
