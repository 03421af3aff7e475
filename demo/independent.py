"""Measures files outside the service, with the plain reference of the tests.

The poisoned file is turned into safetensors here, from the demo's own file and options, so that not even the
reading of the upload is the service's. Knows no service.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from demo.digits import CLASS_NAMES, ZERO_SHOT_TEMPLATES, Pictures
from demo.poison import model_config
from demo.recipe import ATTACK, TARGET, PoisoningOptions
from demo.shards import images
from sanitizer.recipe import to_json
from tests.numerics.reference import measure

SHARES = ("ca", "asr", "pa")


def unpack(poisoned: Path, options: PoisoningOptions, folder: Path) -> Path:
    """The demo's own research checkpoint as model.safetensors and config.json in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    # Our own file, just written by us: the one kind of pickle that may be loaded.
    content = torch.load(poisoned, weights_only=False)
    tensors = {
        name.removeprefix("module."): tensor.contiguous() for name, tensor in content["state_dict"].items()
    }
    save_file(tensors, folder / "model.safetensors")
    config = {"model_cfg": model_config(options), "preprocess_cfg": {}}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def figures(model_folder: Path, test: Pictures, *, seed: int) -> dict[str, dict[str, Any]]:
    """CA, ASR and PA, each with value, n, successes, low and high."""
    measured = measure(
        model_folder,
        images=list(images(test)),
        labels=test.label_N.tolist(),
        class_names=CLASS_NAMES,
        templates=ZERO_SHOT_TEMPLATES,
        target=TARGET,
        attack=to_json(ATTACK),
        seed=seed,
    )
    return {share: measured[share] for share in SHARES}
