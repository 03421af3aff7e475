"""Keeps a test subject on disk, so that it is trained once: a research checkpoint and its manifest.

The file has the layout that research code writes: `{"state_dict": {"module.…": …}, "epoch", "name",
"optimizer"}`, learning rates as NumPy scalars included.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from cleanclip.vocabulary.settled import COMPARED
from lab.testbed import changing, glyphs, pictures, poisoned_pairs, training
from lab.testbed.options import Ready, SubjectOptions, trigger_of
from lab.testbed.training import EpochFigures, Poisoned, model_config
from sanitizer.attacks.catalogue import trigger_sha256
from sanitizer.whole_files import write_whole

WEIGHTS_NAME = "poisoned.pt"
MANIFEST_NAME = "poisoned.json"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A poisoned checkpoint on disk. `epochs` is the curve of its training; `is_new` if trained just now."""

    path: Path
    sha256: str
    epochs: tuple[EpochFigures, ...]
    num_poisons: int
    is_new: bool


def find_or_train(
    folder: Path,
    options: SubjectOptions,
    attack: Ready | None,
    *,
    seed: int,
    on_step: Callable[[int, int], None] = lambda done, total: None,
    on_epoch: Callable[[EpochFigures], None] = lambda figures: None,
) -> Subject:
    """The subject in `folder`, if made with the same options, seed, attack and code; else a new one.

    `attack` is that of the options, an optimised pattern by now a trigger. Raises GlyphsMissing.
    """
    identity = options_sha256(options, attack, seed)
    kept = _find(folder, identity)
    if kept is not None:
        return kept
    poisoned = training.train(options, attack, seed=seed, on_step=on_step, on_epoch=on_epoch)
    return save(folder, poisoned, options, attack, seed)


def save(
    folder: Path, poisoned: Poisoned, options: SubjectOptions, attack: Ready | None, seed: int
) -> Subject:
    """Write the checkpoint, then the manifest that vouches for it, each by rename."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "epoch": len(poisoned.epochs),
        "name": f"{options.glyphs}-{options.tower}-seed{seed}",
        "state_dict": {f"module.{name}": tensor for name, tensor in poisoned.model.state_dict().items()},
        "optimizer": _as_research_code_saves_it(poisoned.optimizer_state),
    }
    path = folder / WEIGHTS_NAME
    half_written = path.with_suffix(".part")
    torch.save(content, half_written)
    half_written.replace(path)
    sha256 = _sha256(path)
    manifest = {
        "options_sha256": options_sha256(options, attack, seed),
        "sha256": sha256,
        "seed": seed,
        "options": asdict(options),
        "torch": torch.__version__,
        "num_threads": torch.get_num_threads(),
        "epochs": [asdict(figures) for figures in poisoned.epochs],
        "num_poisons": poisoned.num_poisons,
    }
    write_whole(folder / MANIFEST_NAME, json.dumps(manifest, indent=2) + "\n")
    num = poisoned.num_poisons
    return Subject(path=path, sha256=sha256, epochs=poisoned.epochs, num_poisons=num, is_new=True)


def unpack(path: Path, options: SubjectOptions, folder: Path) -> Path:
    """A research checkpoint as model.safetensors and config.json in `folder`; torch alone reads it."""
    # Our own file, just written by us: the one kind of pickle that may be loaded.
    content = torch.load(path, weights_only=False)
    write({name.removeprefix("module."): one for name, one in content["state_dict"].items()}, options, folder)
    return folder


def write(state: Mapping[str, Tensor], options: SubjectOptions, folder: Path) -> None:
    """model.safetensors and the config.json by which the library opens a model of ours."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "model.part")
    config = {
        "model_cfg": model_config(options),
        "preprocess_cfg": {},
        "checkpoint": {"configured": list(COMPARED)},  # we trained it: its images need not tell them
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "model.part").replace(folder / "model.safetensors")


def options_sha256(options: SubjectOptions, attack: Ready | None, seed: int) -> str:
    """Of all that decides the weights: options, seed, trigger and the code that composes and trains."""
    modules = (changing, glyphs, pictures, poisoned_pairs, training)
    trigger = trigger_of(attack)
    identity = {
        "options": asdict(options),
        "seed": seed,
        "trigger": trigger and trigger_sha256(trigger, seed),
        "code": [hashlib.sha256(Path(str(module.__file__)).read_bytes()).hexdigest() for module in modules],
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _find(folder: Path, identity: str) -> Subject | None:
    """None unless the manifest is of this identity and the file is the one that it was written for."""
    try:
        manifest = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    path = folder / WEIGHTS_NAME
    is_ours = isinstance(manifest, dict) and manifest.get("options_sha256") == identity
    if not is_ours or not path.is_file() or _sha256(path) != manifest["sha256"]:
        return None
    reported = {name: manifest[name] for name in ("sha256", "num_poisons")}
    epochs = tuple(EpochFigures(**figures) for figures in manifest["epochs"])
    return Subject(path=path, epochs=epochs, is_new=False, **reported)


def _as_research_code_saves_it(optimizer_state: dict[str, Any]) -> dict[str, Any]:
    """Its learning rates as NumPy scalars, for which `torch.load` refuses many a real file in safe mode."""
    groups = [{**group, "lr": np.float64(group["lr"])} for group in optimizer_state["param_groups"]]
    return {**optimizer_state, "param_groups": groups}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
