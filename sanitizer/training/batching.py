"""What a run's batches are made of: views or perturbed images, as its recipe asks. Knows no loss."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from cleanclip.spec.recipe import CleanCLIPRecipe, PARRecipe, Recipe
from sanitizer.augment.perturbation import Perturbation
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.data.batches import PairBatches
from sanitizer.data.pixels import normalise
from sanitizer.data.training_data import LabelsAsCaptions, TrainingData
from sanitizer.training.distributed import World


def open_batches(
    checkpoint: LoadedCheckpoint,
    data: TrainingData,
    recipe: Recipe,
    *,
    seed: int,
    world: World,
    num_workers: int,
    device: torch.device,
) -> PairBatches:
    """This rank's batches; on CUDA the images' views are left to the device.

    Raises OptionsRejected `batch_larger_than_data`.
    """
    return PairBatches(
        data,
        tokenize=LabelsAsCaptions.tokenize if recipe.training_data == "labelled" else checkpoint.tokenize,
        image_size=checkpoint.architecture.image_size,
        batch_size=recipe.batch_size // world.size,
        seed=seed,
        eda_alpha=recipe.eda_alpha if isinstance(recipe, CleanCLIPRecipe) and recipe.lambda2 > 0 else None,
        perturbation=_perturbation(recipe, checkpoint),
        max_skipped_share=recipe.max_skipped_share,
        rank=world.rank,
        world_size=world.size,
        num_workers=num_workers,
        draws_views_only=device.type == "cuda",
    )


def _perturbation(recipe: Recipe, checkpoint: LoadedCheckpoint) -> Perturbation | None:
    if not isinstance(recipe, PARRecipe):
        return None
    red, green, blue = (round(255 * channel) for channel in checkpoint.architecture.image_mean)
    return Perturbation(
        noise_std=recipe.noise_std,
        noise_probability=recipe.noise_probability,
        erase_probability=recipe.erase_probability,
        fill=(red, green, blue),
    )


def to_input(checkpoint: LoadedCheckpoint) -> Callable[[Tensor], Tensor]:
    """uint8 pixels [N, C, H, W] → what the image tower takes."""
    mean, std = checkpoint.architecture.image_mean, checkpoint.architecture.image_std

    def normalised(image_NCHW: Tensor) -> Tensor:
        return normalise(image_NCHW, mean, std).contiguous(memory_format=torch.channels_last)

    return normalised
