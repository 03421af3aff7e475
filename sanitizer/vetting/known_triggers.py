"""Where known triggers move the suspect's embeddings: directions for `vetting.directions`. Needs the pixels.

Shapes: N images, C = 3, H = W = the model's image size, D embedding width, J triggers.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.vet_options import VetOptions
from sanitizer.attacks.catalogue import build_trigger
from sanitizer.data.pixels import to_model_pixels
from sanitizer.seeding import generator
from sanitizer.vetting.embedding import Embedder, Passed

NUM_IMAGES = 256
"""Drawn by the seed, for each trigger the same."""


def known_directions(
    options: VetOptions,
    source: Passed,
    rows: NDArray[np.int64],
    suspect: Embedder,
    *,
    seed: int,
    check: Callable[[], None],
) -> NDArray[np.float64]:
    """[J, D], not of unit length: those of `options.triggers`, then `options.directions`.

    `rows` of `source` are the images that triggers are put on. What `check()` raises before each trigger
    passes through.
    """
    found: list[NDArray[np.float64]] = []
    if options.triggers:
        chosen = generator(seed, "vet_trigger_images").permutation(rows)[:NUM_IMAGES]
        indices = [source.indices[row] for row in np.sort(chosen)]
        size = suspect.checkpoint.architecture.image_size
        images = [to_model_pixels(source.dataset.read(index).image, size) for index in indices]
        pixels_NCHW = suspect.pixels(torch.stack(images))
        clean_ND = suspect.images(pixels_NCHW)
        for trigger in options.triggers:
            check()
            triggered_NCHW = build_trigger(trigger).apply(pixels_NCHW, indices, seed)
            moved_D = (suspect.images(triggered_NCHW) - clean_ND).double().mean(dim=0)
            found.append(moved_D.cpu().numpy())
    found += [np.array(direction, dtype=np.float64) for direction in options.directions]
    return np.stack(found) if found else np.zeros((0, suspect.width))


def check_directions(options: VetOptions, width: int) -> None:
    """Before anything is computed. Raises OptionsRejected `wrong_direction_length`."""
    for number, direction in enumerate(options.directions):
        if len(direction) != width:
            raise OptionsRejected(
                "wrong_direction_length",
                f"A direction has {len(direction)} numbers, and the model's embeddings have {width}.",
                "Give directions of the model that is vetted with.",
                where=f"vet.directions.{number}",
            )
