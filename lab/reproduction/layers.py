"""How far a trigger moves an image, layer by layer: `python -m lab.reproduction.layers --folder F`.

For a development model as it came and after each method (those of `METHODS` whose weights lie in F): the
mean squared distance of a triggered image from its clean original, over that of two different clean images:

    r_l = mean_i |h_l(x_i ⊕ trigger) − h_l(x_i)|² / mean_{i≠j} |h_l(x_i) − h_l(x_j)|²

0: layer l does not see the trigger; 1: the image is as far from itself as from another one. h_l is the class
token after block l of a ViT, the mean over places after stage l of a ResNet; the last is the unit embedding.
Beside it the collapse of the embeddings under the trigger, |mean_i f(x_i ⊕ trigger)|².

Measured on validation images. Writes docs/reproduction/layers.jsonl.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lab.reproduction.activations import layers_of
from lab.reproduction.cells import VALIDATION_SEED
from lab.reproduction.developing import row_id
from lab.reproduction.development import MODELS, VARIANTS, DevelopmentModel
from lab.reproduction.measuring import made_with
from lab.reproduction.running import Folders
from sanitizer.attacks.catalogue import build_trigger
from sanitizer.checkpoints.model import load_canonical
from sanitizer.data.labelled import open_labelled
from sanitizer.data.pixels import to_model_pixels
from sanitizer.seeding import generator

OUT = Path(__file__).resolve().parents[2] / "docs" / "reproduction" / "layers.jsonl"
METHODS = ("before", "cleanclip", "par", "uar")
MEASURED = ("vit-five", "resnet-badnet")
NUM_IMAGES, NUM_RESAMPLES = 1_000, 500


def moved(clean_ND: Tensor, triggered_ND: Tensor) -> tuple[float, float, float]:
    """r_l, and its 95 % interval by the bootstrap over images."""
    own_N = (triggered_ND - clean_ND).square().sum(dim=1).numpy()
    # Of two different images drawn from N: twice the unbiased variance, summed over the coordinates.
    spread_N = (
        2 * (clean_ND - clean_ND.mean(dim=0)).square().sum(dim=1).numpy() * len(own_N) / (len(own_N) - 1)
    )
    draws = generator(0, "layers_bootstrap").integers(len(own_N), size=(NUM_RESAMPLES, len(own_N)))
    ratios = own_N[draws].mean(axis=1) / spread_N[draws].mean(axis=1)
    low, high = np.quantile(ratios, (0.025, 0.975))
    return float(own_N.mean() / spread_N.mean()), float(low), float(high)


def measure(model: DevelopmentModel, method: str, root: Path) -> dict[str, Any]:
    """One line: of one model and method, by family."""
    folders, seed = Folders(root), model.subject.seed
    folder = folders.of(model.subject)
    if method != "before":
        folder = root / "development" / row_id(model, VARIANTS[method])
    checkpoint = load_canonical(folder)
    checkpoint.model.eval()
    judged = open_labelled(folders.sets.judged(model.subject.options, seed, "validation"))
    size = checkpoint.architecture.image_size
    images = [to_model_pixels(judged.read(index).image, size) for index in range(NUM_IMAGES)]
    clean_NCHW = torch.stack(images).float() / 255
    clean = layers_of(checkpoint, clean_NCHW)
    families = {}
    for family, (attack, _) in zip(model.families, model.attacks(), strict=True):
        trigger = build_trigger(attack)  # type: ignore[arg-type]  # development models carry no other kind
        triggered_NCHW = trigger.apply(clean_NCHW, range(NUM_IMAGES), VALIDATION_SEED + seed)
        triggered = layers_of(checkpoint, triggered_NCHW)
        families[family] = {
            "layers": {name: [round(v, 4) for v in moved(clean[name], triggered[name])] for name in clean},
            "collapse": round(float(triggered["embedding"].mean(dim=0).square().sum()), 4),
        }
    collapse = round(float(clean["embedding"].mean(dim=0).square().sum()), 4)
    return {
        "model": model.name,
        "seed": seed,
        "method": method,
        "num_images": NUM_IMAGES,
        "clean_collapse": collapse,
        "families": families,
        "weights_sha256": checkpoint.weights_sha256,
        "made_with": made_with(),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what was cleaned in the folder, and write the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    models = [model for model in MODELS if model.name in MEASURED]
    lines = [measure(model, method, given.folder) for model in models for method in METHODS]
    OUT.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return 0


if __name__ == "__main__":
    main()
