"""Takes the directions along which patterns move a ViT out of its residual stream. Trains nothing.

    r_k = mean_i [ h(x_i ⊕ ω_k) − h(x_i) ]     h: class token after the last block; ω_k: inverted patterns
    W ← (I − Q Qᵀ) W,  b ← (I − Q Qᵀ) b        Q: the main directions of all r_k, orthonormal columns

for every W, b that writes into the stream: the projections of attention and of the MLP in each block. What
enters before the first block stays, because a LayerNorm with a scale of its own stands in between; into the
class token it writes the same for every image.

Legend: K patterns, M images, D width of the stream.
"""

from __future__ import annotations

import torch
from open_clip.model import CLIP
from torch import Tensor

from cleanclip.spec.recipe import UARRecipe
from lab.reproduction.activations import layers_of
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.data.training_data import TrainingData
from sanitizer.perturbations.collapse import CollapseOptions, invert
from sanitizer.perturbations.patterns import apply_patterns
from sanitizer.seeding import generator
from sanitizer.training.batching import to_input
from sanitizer.training.inverting import embedder, images_to_invert_on
from sanitizer.training.pattern_pool import PatternPool

LEAST_SHARE = 0.1
"""A direction is taken out if its squared length is at least this share of the longest one's."""


def ablate(checkpoint: LoadedCheckpoint, data: TrainingData, recipe: UARRecipe, *, seed: int) -> None:
    """In place, by patterns that are inverted on the model as the recipe's first inversion does it."""
    checkpoint.model.eval()
    size, cpu = checkpoint.architecture.image_size, torch.device("cpu")
    image_MCHW = images_to_invert_on(data, size, seed)
    patterns = invert(
        embedder(checkpoint.model, to_input(checkpoint), torch.float32),
        image_MCHW,
        PatternPool(recipe, image_size=size, seed=seed, device=cpu).families_to_invert(),
        CollapseOptions(num_steps=recipe.inversion_steps),
        seed=seed,
        stream="ablation",
    )
    pixels = image_MCHW.float() / 255
    place_M2 = torch.from_numpy(generator(seed, "ablation_places").random((len(pixels), 2)))
    clean_MD = _class_tokens(checkpoint, pixels)
    moved = [
        (
            _class_tokens(checkpoint, apply_patterns(pixels, [one], [0] * len(pixels), place_M2)) - clean_MD
        ).mean(0)
        for one in patterns
    ]
    take_out(checkpoint.model, main_directions(torch.stack(moved)))


def main_directions(moved_KD: Tensor) -> Tensor:
    """[D, k], orthonormal columns: the right singular vectors of at least `LEAST_SHARE` of the first one's
    squared singular value."""
    _, lengths, rows = torch.linalg.svd(moved_KD, full_matrices=False)
    direction_kD: Tensor = rows[lengths.square() >= LEAST_SHARE * lengths[0].square()]
    return direction_kD.T


def take_out(model: CLIP, direction_Dk: Tensor) -> None:
    """Nothing that a block of the image tower writes has a part along the columns afterwards."""
    with torch.no_grad():
        for block in model.visual.transformer.resblocks:
            for layer in (block.attn.out_proj, block.mlp.c_proj):
                for tensor in (layer.weight, layer.bias):
                    direction = direction_Dk.to(tensor)
                    tensor.sub_(direction @ (direction.T @ tensor))


def _class_tokens(checkpoint: LoadedCheckpoint, image_MCHW: Tensor) -> Tensor:
    *blocks, _ = layers_of(checkpoint, image_MCHW).values()
    return blocks[-1]
