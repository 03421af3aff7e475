"""Brings batches to the device while the step before is computed.

On CUDA one thread takes the next batch from the loader, puts its images into pinned memory and, where the
batch passes whole, starts their copy on a stream of its own; the step waits for that copy alone. Elsewhere
batches come as they are: on a CPU the loader's processes are ahead already. Tokens stay: they are few, and
are cut first.

What a run's batches are made of: views or perturbed images, as its recipe asks.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from cleanclip.vocabulary.recipe import CleanCLIPRecipe, PARRecipe, Recipe
from sanitizer.augment.perturbation import Perturbation
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.data.batches import PairBatch, PairBatches
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


T = TypeVar("T")
U = TypeVar("U")


def feed(batches: Iterator[PairBatch], device: torch.device, *, copies: bool) -> Iterator[PairBatch]:
    """The same batches in the same order, one ahead; `copies`: with their images on the CUDA device."""
    if device.type != "cuda":
        yield from batches
        return
    stream = torch.cuda.Stream(device) if copies else None  # type: ignore[no-untyped-call]
    for batch, copied in one_ahead(batches, lambda batch: _prepared(batch, device, stream)):
        if copied is not None:
            current = torch.cuda.current_stream(device)
            current.wait_event(copied)
            for image_NCHW in _images(batch).values():
                image_NCHW.record_stream(current)  # else its memory would be given away under the step
        yield batch


def one_ahead(items: Iterator[T], prepare: Callable[[T], U]) -> Iterator[U]:
    """`prepare` of every item in order, in a thread that is one ahead. What it raises comes at its place."""
    end = object()

    def take() -> object:
        item = next(items, end)
        return item if item is end else prepare(item)  # type: ignore[arg-type]

    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(take)
        while (item := coming.result()) is not end:
            coming = thread.submit(take)
            yield item  # type: ignore[misc]


def _prepared(
    batch: PairBatch, device: torch.device, stream: torch.cuda.Stream | None
) -> tuple[PairBatch, torch.cuda.Event | None]:
    with torch.cuda.device(device):  # this thread's own: pinning would else wake the first device
        return _copied(batch, device, stream)


def _copied(
    batch: PairBatch, device: torch.device, stream: torch.cuda.Stream | None
) -> tuple[PairBatch, torch.cuda.Event | None]:
    pinned = replace(batch, **{name: image.pin_memory() for name, image in _images(batch).items()})
    if stream is None:
        return pinned, None
    with torch.cuda.stream(stream):
        there = {name: image.to(device, non_blocking=True) for name, image in _images(pinned).items()}
        return replace(pinned, **there), stream.record_event()


def _images(batch: PairBatch) -> dict[str, Tensor]:
    found = {"image_NCHW": batch.image_NCHW, "image_view_NCHW": batch.image_view_NCHW}
    return {name: image for name, image in found.items() if image is not None}
