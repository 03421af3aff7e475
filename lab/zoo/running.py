"""Makes and scans models one after the other. What is there is not made again.

Each is trained, its row is kept, then the row of every detector's look, and its weights are dropped.
"""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from cleanclip.vocabulary.scan_options import Detector
from lab.zoo.making import make
from lab.zoo.plan import Model, anchor_of
from lab.zoo.rows import ModelRow, append, read_models, read_scans
from lab.zoo.scanning import needs_anchor, scan
from sanitizer.checkpoints.model import LoadedCheckpoint, load_canonical


class Busy(Exception):
    """Another process is at work on the same folder."""


@dataclass(frozen=True, kw_only=True)
class Folders:
    """Where rows are published, and where weights lie while they are needed."""

    rows: Path
    weights: Path


def run_all(
    models: Sequence[Model],
    detectors: Sequence[Detector],
    folders: Folders,
    *,
    stop_after_s: float | None = None,
    say: Callable[[str], None] = print,
) -> int:
    """Make and scan what is missing; returns how many models are not finished. Begins none after the time.

    Raises Busy; GlyphsMissing.
    """
    torch.set_num_threads(1)
    started = time.monotonic()
    with alone(folders.weights):
        for done, model in enumerate(models):
            if stop_after_s is not None and time.monotonic() - started > stop_after_s:
                say(f"The time is over; {len(models) - done} models are left. The same command goes on.")
                break
            finish(model, detectors, folders, say)
            shutil.rmtree(folders.weights / model.name, ignore_errors=True)
    return sum(bool(missing(model, detectors, folders.rows)) for model in models)


def missing(model: Model, detectors: Sequence[Detector], rows: Path) -> list[Detector]:
    """The detectors that have not seen the model yet; all of them if it was never made. An anchor is not
    compared with itself."""
    known = read_models(rows).get(model.name)
    is_anchor = model.name == anchor_of(model.bed).name
    wanted = [one for one in detectors if not (is_anchor and needs_anchor(one))]
    if known is None:
        return wanted
    seen = read_scans(rows)
    return [one for one in wanted if (model.name, one, known.weights_sha256) not in seen]


def finish(model: Model, detectors: Sequence[Detector], folders: Folders, say: Callable[[str], None]) -> None:
    """Make and scan what is missing of one model; its weights stay."""
    known = read_models(folders.rows).get(model.name)
    if known is not None and not missing(model, detectors, folders.rows):
        return
    checkpoint = opened_or_made(model, folders.weights / model.name, folders.rows, say)
    for detector in missing(model, detectors, folders.rows):
        anchor = None
        if needs_anchor(detector):
            trusted = anchor_of(model.bed)
            anchor = opened_or_made(trusted, folders.weights / "anchors" / trusted.name, folders.rows, say)
        row = scan(checkpoint, model, detector, anchor)
        append(row, folders.rows)
        say(f"  {detector}: {row.cpu_s:.0f} CPU-s")


def opened_or_made(model: Model, folder: Path, rows: Path, say: Callable[[str], None]) -> LoadedCheckpoint:
    """The model from `folder`, or made again into it; its row is kept where it says something new."""
    known = read_models(rows).get(model.name)
    if known is not None and (folder / "model.safetensors").is_file():
        checkpoint = load_canonical(folder)
        if checkpoint.weights_sha256 == known.weights_sha256:
            return checkpoint
    made = make(model, folder)
    is_other = known is not None and made.weights_sha256 != known.weights_sha256
    if is_other:
        say(f"{model.name} came out with other weights than before: this machine computes differently.")
    if known is None or is_other:
        append(made, rows)
    say(line_of(made))
    return load_canonical(folder)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Raises Busy where another process is at work in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Busy(f"Another process is at work in {folder}; one at a time is enough.") from error
        yield


def line_of(row: ModelRow) -> str:
    """What is printed of a model that was made."""
    asr = "".join(f", ASR {100 * one.value:.1f}" for one in row.asr)
    return f"{row.name} ({row.family}): CA {100 * row.ca.value:.1f}{asr}, {row.cpu_s:.0f} CPU-s"
