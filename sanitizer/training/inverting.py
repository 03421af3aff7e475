"""The inversions of a UAR run: which images, which tower, in which arithmetic."""

from collections.abc import Callable

import torch
from open_clip.model import CLIP
from torch import Tensor
from torch.nn.functional import normalize

from cleanclip.vocabulary.device_memory import IMAGES_PER_PATTERN, INVERSION_IMAGES
from sanitizer.data.pixels import to_model_pixels
from sanitizer.data.skipping import SkipLedger, Skipped, good_ones
from sanitizer.data.training_data import TrainingData
from sanitizer.perturbations.collapse import CollapseOptions, invert
from sanitizer.perturbations.patterns import Pattern
from sanitizer.seeding import generator
from sanitizer.training.device import autocast
from sanitizer.training.distributed import World
from sanitizer.training.pattern_pool import PatternPool
from sanitizer.training.towers import encode_image


def images_to_invert_on(data: TrainingData, image_size: int, seed: int) -> Tensor:
    """`INVERSION_IMAGES` good images of `data` at most, drawn by `seed`: uint8 [M, 3, H, W].

    Raises DatasetRejected if there is none among as many as it looks at.
    """
    order = generator(seed, "uar_images").permutation(len(data))[: 2 * INVERSION_IMAGES]
    skipped: list[Skipped] = []
    images: list[Tensor] = []
    for _, pair in good_ones(data, map(int, order), skipped):
        images.append(to_model_pixels(pair.image, image_size))
        if len(images) == INVERSION_IMAGES:
            break
    if not images:
        ledger = SkipLedger(len(order), 1.0)
        for one in skipped:
            ledger.add(one)
        raise ledger.rejection()
    return torch.stack(images)


def embedder(
    model: CLIP, to_input: Callable[[Tensor], Tensor], dtype: torch.dtype
) -> Callable[[Tensor], Tensor]:
    """Pixels in [0, 1] → unit embeddings of `model`, whose mode is the caller's affair."""

    def embed(image_NCHW: Tensor) -> Tensor:
        with autocast(image_NCHW.device, dtype):
            features = encode_image(model, to_input(image_NCHW))
        is_half = features.dtype in (torch.float16, torch.bfloat16)
        return normalize(features.float() if is_half else features, dim=-1)

    return embed


def invert_into(
    pool: PatternPool,
    embed: Callable[[Tensor], Tensor],
    image_MCHW: Tensor,
    *,
    num_steps: int,
    images_at_once: int,
    seed: int,
    world: World,
    on_step: Callable[[int], None],
) -> None:
    """Invert one pattern for each that the pool asks for, and give them to it. All ranks compute the same,
    and take rank 0's."""
    patterns = invert(
        embed,
        image_MCHW,
        pool.families_to_invert(),
        CollapseOptions(
            num_steps=num_steps, images_per_pattern=IMAGES_PER_PATTERN, images_at_once=images_at_once
        ),
        seed=seed,
        stream=f"uar_inversion_{pool.num_inversions}",
        on_step=on_step,
    )
    pool.add_inverted([Pattern(one.family, world.from_first(one.value)) for one in patterns])
