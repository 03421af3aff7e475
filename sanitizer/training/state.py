"""Resumable training states on disk. Knows files and tensors; no data, loss or clock.

    state/step-00000400/
      weights.safetensors    every parameter and buffer, float32; see `token_table` for its unused rows
      moments.safetensors    AdamW's moments by parameter name, torch's RNG state, the patterns of UAR
      position.json          a `Position`: which run, where in it, the curve so far
      manifest.json          size and SHA-256 of each file above; written last

A folder is filled under a name that no reader looks at, flushed to the disk and renamed, so a state is
there whole or not at all; `find_newest` nevertheless believes only a manifest that verifies. Everything
is safetensors or JSON: nothing in a state can execute, whoever brought it.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from open_clip.model import CLIP
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import load_file
from torch import Tensor

from cleanclip.vocabulary.recipe import Recipe, to_json
from cleanclip.vocabulary.report import CurvePoint
from sanitizer.checkpoints.safetensors_file import write_safetensors
from sanitizer.data.skipping import Skipped
from sanitizer.training.optimizer import ClipAdamW, export_moments, import_moments

WEIGHTS_NAME = "weights.safetensors"
MOMENTS_NAME = "moments.safetensors"
POSITION_NAME = "position.json"
MANIFEST_NAME = "manifest.json"
NUM_KEPT = 2

_FOLDER_PATTERN = re.compile(r"step-(\d{8,})")
_RNG_PREFIX = "rng:"
_PATTERNS_PREFIX = "patterns:"


@dataclass(frozen=True, kw_only=True)
class Watch:
    """What the divergence watch remembers: the sum of the first `first_steps` losses, the running mean after
    them, the last loss, and how many in a row were at chance."""

    first_sum: float = 0.0
    first_steps: int = 0
    average: float | None = None
    last: float | None = None
    at_chance: int = 0

    @property
    def first_mean(self) -> float:
        return self.first_sum / self.first_steps


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where a run stands. `run_sha256` identifies recipe, seed and inputs: a state fits one run only.

    `step` updates are done; the next batch is number `step_in_epoch` of `epoch`. The `interval_*` sums,
    of the loss and of its parts, are of the steps since the last point of the curve. `good_step` is that of
    the last state that was saved while the loss was good, which may be this one; None where none was saved.
    """

    run_sha256: str
    step: int
    epoch: int
    step_in_epoch: int
    curve: tuple[CurvePoint, ...] = ()
    interval_steps: int = 0
    interval_sums: tuple[float, ...] = ()
    watch: Watch = Watch()
    skipped: tuple[Skipped, ...] = ()
    wall_s: float = 0.0
    resumed_from_steps: tuple[int, ...] = ()
    good_step: int | None = None


_POSITION = TypeAdapter(Position)


def run_sha256(recipe: Recipe, *, seed: int, weights_sha256: str, pairs_sha256: str, world_size: int) -> str:
    """What a state must share with a run to belong to it: everything that decides the sequence of updates."""
    parts = {
        "version": 1,
        "recipe": to_json(recipe),
        "seed": seed,
        "weights_sha256": weights_sha256,
        "pairs_sha256": pairs_sha256,
        "world_size": world_size,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def save(
    folder: Path,
    model: CLIP,
    optimizer: ClipAdamW,
    position: Position,
    patterns: Mapping[str, Tensor] = MappingProxyType({}),
) -> Path:
    """Write one state under `folder`, and return its path. `patterns`: what `PatternPool.export` gave.

    Of the others, the one before it (`NUM_KEPT`) and that of `position.good_step` stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / _name(position.step)
    unfinished = folder / f".unfinished-{final.name}"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    moments = export_moments(optimizer, model) | _rng_states(model.logit_scale.device)
    moments |= {_PATTERNS_PREFIX + name: tensor for name, tensor in patterns.items()}
    (unfinished / POSITION_NAME).write_bytes(_POSITION.dump_json(position))
    digests = {
        WEIGHTS_NAME: write_safetensors(unfinished / WEIGHTS_NAME, model.state_dict(), {}),
        MOMENTS_NAME: write_safetensors(unfinished / MOMENTS_NAME, moments, {}),
        POSITION_NAME: _sha256(unfinished / POSITION_NAME),
    }
    files = {
        name: {"size_bytes": (unfinished / name).stat().st_size, "sha256": digest}
        for name, digest in digests.items()
    }
    (unfinished / MANIFEST_NAME).write_text(json.dumps({"version": 1, "files": files}, indent=1))
    for name in (POSITION_NAME, MANIFEST_NAME, "."):
        _flush(unfinished / name)
    if final.exists():  # an earlier state of the same step that did not verify
        shutil.rmtree(final)
    unfinished.rename(final)
    _flush(folder)
    _remove_others(folder, final, position.good_step)
    return final


def find_newest(folder: Path, run_sha256: str | None = None) -> Path | None:
    """The newest state under `folder` whose manifest verifies (and that is of this run, if one is given)."""
    for candidate in reversed(_list(folder)):
        if verifies(candidate) and (run_sha256 is None or read_position(candidate).run_sha256 == run_sha256):
            return candidate
    return None


def verifies(state: Path) -> bool:
    """Whether every file of the manifest is there with its size and digest, and the position can be read."""
    try:
        files = json.loads((state / MANIFEST_NAME).read_bytes())["files"]
        if set(files) != {WEIGHTS_NAME, MOMENTS_NAME, POSITION_NAME}:
            return False
        for name, entry in files.items():
            if (state / name).stat().st_size != entry["size_bytes"] or _sha256(state / name) != entry[
                "sha256"
            ]:
                return False
        read_position(state)
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return False
    return True


def read_position(state: Path) -> Position:
    """Raises pydantic.ValidationError if it is not one."""
    return _POSITION.validate_json((state / POSITION_NAME).read_bytes())


def load(
    state: Path,
    model: CLIP,
    optimizer: ClipAdamW,
    take_patterns: Callable[[Mapping[str, Tensor]], None] | None = None,
) -> Position:
    """Bring weights, moments and RNG back, in place, and return the position. `take_patterns` is given what
    was given to `save`."""
    device = model.logit_scale.device
    model.load_state_dict(load_file(state / WEIGHTS_NAME))
    tensors = load_file(state / MOMENTS_NAME)
    rng = {name: tensors.pop(name) for name in list(tensors) if name.startswith(_RNG_PREFIX)}
    patterns = {
        name.removeprefix(_PATTERNS_PREFIX): tensors.pop(name)
        for name in list(tensors)
        if name.startswith(_PATTERNS_PREFIX)
    }
    if take_patterns is not None:
        take_patterns(patterns)
    import_moments(optimizer, model, tensors)
    torch.set_rng_state(rng[_RNG_PREFIX + "cpu"].to(torch.uint8))
    if device.type == "cuda" and _RNG_PREFIX + "cuda" in rng:
        torch.cuda.set_rng_state(rng[_RNG_PREFIX + "cuda"].to(torch.uint8), device)
    return read_position(state)


def _rng_states(device: torch.device) -> dict[str, Tensor]:
    """As int64: our writer knows no bytes."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return {_RNG_PREFIX + name: bytes_.to(torch.int64) for name, bytes_ in states.items()}


def _list(folder: Path) -> list[Path]:
    """States by step, oldest first, whole or not."""
    if not folder.is_dir():
        return []
    matches = [(m, path) for path in folder.iterdir() if (m := _FOLDER_PATTERN.fullmatch(path.name))]
    return [path for _, path in sorted((int(m[1]), path) for m, path in matches)]


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _remove_others(folder: Path, newest: Path, good_step: int | None) -> None:
    """Those beyond `NUM_KEPT`, of later steps (another run's, or damaged), and unfinished ones.

    What was saved while the loss rose does not push out the last state from before it did.
    """
    states = _list(folder)
    up_to_newest = states[: states.index(newest) + 1]
    kept = up_to_newest[-NUM_KEPT:]
    if good_step is not None:
        kept += [path for path in up_to_newest if path.name == _name(good_step)]
    for path in (*states, *folder.glob(".unfinished-step-*")):
        if path not in kept:
            shutil.rmtree(path, ignore_errors=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    # Some file systems refuse fsync on a folder; the rename is then as durable as they make it.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
