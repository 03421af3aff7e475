"""The research recipe, read straightforwardly from its description: what ours is measured against.

Float32, torch's default memory layout, AdamW as `torch.optim` gives it, a linear warm-up and a cosine; every
image is opened and decoded twice, once for each view; torchvision's AutoAugment runs on the PIL image at
its full size, which is resized afterwards; the caption's view is EDA from its text; captions are tokenised in
the loader and padded to the model's 77 places; original and view pass as one batch of the image tower, and of
the text tower. A training trains BatchNorm.

Nothing is made slow on purpose: loading runs in as many processes beside as ours has, and the arithmetic on
as many threads. Written from the description, for benchmarks only; it defends nothing against bad data.
"""

from __future__ import annotations

import csv
import math
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from cleanclip.vocabulary.recipe import CleanCLIPRecipe
from lab.benchmarks.speed.material import checkpoint as random_checkpoint
from lab.benchmarks.speed.material import write_pairs
from lab.benchmarks.speed.measuring import as_a_job, in_own_process, in_turn, seconds
from sanitizer.augment.captions import augment_caption
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.data.pairs import open_pairs
from sanitizer.seeding import generator
from sanitizer.training.device import share_cores
from sanitizer.training.loop import finetune


def to_pixels(size: int) -> list[Any]:
    """open_clip's transforms of an image, up to its normalisation."""
    return [
        transforms.Resize(size, interpolation=transforms.InterpolationMode.BICUBIC),
        transforms.CenterCrop(size),
        transforms.ToTensor(),
    ]


class _Pairs(Dataset[tuple[Tensor, Tensor, Tensor, Tensor]]):
    """Image, its view, tokens, their view."""

    def __init__(self, folder: Path, checkpoint: LoadedCheckpoint, recipe: CleanCLIPRecipe) -> None:
        with (folder / "pairs.csv").open(encoding="utf-8", newline="") as file:
            self._rows = [(row["image"], row["caption"]) for row in csv.DictReader(file)]
        self._folder, self._checkpoint = folder, checkpoint
        shape = checkpoint.architecture
        to_input = [*to_pixels(shape.image_size), transforms.Normalize(shape.image_mean, shape.image_std)]
        self._plain = transforms.Compose(to_input)
        self._changed = transforms.Compose([transforms.AutoAugment(), *to_input])
        self._views = [
            augment_caption(caption, recipe.eda_alpha, generator(0, "caption_view", 0, index))
            for index, (_, caption) in enumerate(self._rows)
        ]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        name, caption = self._rows[index]
        return (
            self._plain(Image.open(self._folder / name).convert("RGB")),
            self._changed(Image.open(self._folder / name).convert("RGB")),
            self._checkpoint.tokenize([caption])[0],
            self._checkpoint.tokenize([self._views[index]])[0],
        )


def loader_of(dataset: Dataset[Any], *, num_workers: int, **options: Any) -> DataLoader[Any]:
    """Loading processes are forked, as a program's are on Linux. In a process that was itself spawned, which
    measures this, the default is to spawn them too: each imports torch and open_clip first, for seconds."""
    context = "fork" if num_workers and sys.platform == "linux" else None
    return DataLoader(dataset, num_workers=num_workers, multiprocessing_context=context, **options)


def train(
    checkpoint: LoadedCheckpoint,
    folder: Path,
    recipe: CleanCLIPRecipe,
    *,
    num_workers: int,
    device: torch.device,
) -> int:
    """All epochs over the pairs of `folder`, lambda1 = lambda2 = 1; returns how many pairs one trained on."""
    model = checkpoint.model.to(device).train()
    loader = loader_of(
        _Pairs(folder, checkpoint, recipe),
        batch_size=recipe.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=num_workers,
        pin_memory=device.type == "cuda",
    )
    vectors = [p for p in model.parameters() if p.ndim < 2]
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    optimizer = torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": recipe.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=recipe.learning_rate,
    )
    warm, total = recipe.warmup_steps, recipe.epochs * len(loader)

    def share_of_rate(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return (1 + math.cos(math.pi * (step - warm) / max(1, total - warm))) / 2

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share_of_rate)
    for _ in range(recipe.epochs):
        for images, views, tokens, token_views in loader:
            optimizer.zero_grad()
            loss = loss_of(
                model, torch.cat([images, views]).to(device), torch.cat([tokens, token_views]).to(device)
            )
            loss.backward()
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                model.logit_scale.clamp_(0, math.log(100))
            loss.item()  # what a progress bar shows
    return len(loader) * recipe.batch_size


def loss_of(model: nn.Module, images: Tensor, tokens: Tensor) -> Tensor:
    """lambda1 = lambda2 = 1, as stated in the paper."""
    image, image_view = normalize(model.encode_image(images), dim=-1).chunk(2)
    text, text_view = normalize(model.encode_text(tokens), dim=-1).chunk(2)
    scale, target = model.logit_scale.exp(), torch.arange(len(image), device=image.device)
    logits = scale * image @ text.T
    clip = (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2
    within = cross_entropy(scale * image @ image_view.T, target)
    within = within + cross_entropy(scale * text @ text_view.T, target)
    return clip + within / 2


# Both over the same pairs, end to end with decoding.


def recipe(batch_size: int) -> CleanCLIPRecipe:
    """The defaults, over one epoch."""
    return CleanCLIPRecipe(epochs=1, batch_size=batch_size, warmup_steps=1)


def ours_s(name: str, folder: Path, batch_size: int, device: torch.device) -> float:
    """Seconds of one epoch by the library."""
    loaded = random_checkpoint(name)
    num_workers = share_cores(loaded.model, device)
    ours = partial(finetune, seed=0, device=device, num_workers=num_workers)
    return seconds(lambda: ours(loaded, open_pairs(folder), recipe(batch_size)))


def baseline_s(name: str, folder: Path, batch_size: int, device: torch.device) -> float:
    """Seconds of one epoch by the research recipe."""
    loaded, theirs = random_checkpoint(name), recipe(batch_size)
    num_workers = share_cores(loaded.model, device)
    torch.manual_seed(0)
    return seconds(lambda: train(loaded, folder, theirs, num_workers=num_workers, device=device))


def compare(
    name: str, scratch: Path, *, num_pairs: int, batch_size: int, repetitions: int, device: torch.device
) -> dict[str, Any]:
    """What both took, in turn, and over how many pairs."""
    folder = write_pairs(scratch / f"pairs-{name.replace('/', '-')}", num_pairs)
    num_trained = num_pairs // batch_size * batch_size
    print(f"{name}: {num_trained} pairs in batches of {batch_size}", flush=True)
    row = in_turn(
        lambda: in_own_process(baseline_s, name, folder, batch_size, device),
        lambda: as_a_job(ours_s, name, folder, batch_size, device),
        repetitions,
        lambda line: print(line, flush=True),
    )
    return {"pairs": num_trained, **row}
