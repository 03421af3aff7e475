"""Where the time of a step goes now, and how far it is from what the machine can do. Knows no table.

The limit: floating-point operations of one step, counted by torch's counter over the very step that is timed
(a multiply-add is two), against the best rate of one large matrix product in the same dtype here.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from lab.benchmarks.speed.material import captions, checkpoint, pictures, write_pairs
from lab.benchmarks.speed.training import recipe
from sanitizer.augment.captions import augment_caption
from sanitizer.augment.images import auto_augment, draw_operations
from sanitizer.augment.tensor_images import augment_batch, encode
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.data.images import decode, resize_and_crop
from sanitizer.data.pairs import open_pairs
from sanitizer.methods.catalogue import build_method
from sanitizer.seeding import generator
from sanitizer.training import optimizer, towers
from sanitizer.training.batching import open_batches, to_input
from sanitizer.training.device import share_cores, towers_dtype
from sanitizer.training.distributed import World
from sanitizer.training.step import StepOptions, take_step

_KINDS = {
    "convolutions": ("convolution",),
    "matrix products": ("::mm", "::addmm", "::bmm", "::linear", "attention"),
    "normalisation": ("norm",),
    "optimizer": ("adamw", "_foreach"),
    "copies and casts": ("copy", "contiguous", "::to", "cat", "clone", "fill"),
}


def step_of(name: str, scratch: Path, batch_size: int, device: torch.device) -> dict[str, Any]:
    """FLOPs, seconds and operators of one training step by the library, on a batch that is there already."""
    loaded = checkpoint(name)
    share_cores(loaded.model, device)
    take = _step(
        loaded, write_pairs(scratch / f"where-{name.replace('/', '-')}", batch_size), batch_size, device
    )
    take()
    with FlopCounterMode(display=False) as counter:
        take()
    best_s = min(_timed(take, device) for _ in range(3))
    dtype = towers_dtype("auto", device, loaded.model)
    peak = peak_flops(dtype, device)
    num_flops = counter.get_total_flops()
    return {
        "model": name,
        "batch": batch_size,
        "dtype": str(dtype).removeprefix("torch."),
        "step_s": best_s,
        "gflop_a_pair": num_flops / batch_size / 1e9,
        "reached_gflops": num_flops / best_s / 1e9,
        "peak_gflops": peak / 1e9,
        "share_of_peak": num_flops / best_s / peak,
        "operators": _operators(take, device),
    }


def _step(
    loaded: LoadedCheckpoint, folder: Path, batch_size: int, device: torch.device
) -> Callable[[], object]:
    model = loaded.model.to(device=device, memory_format=torch.channels_last)
    towers.prepare(model, freeze_batch_norm_statistics=True)
    chosen = recipe(batch_size)
    update = optimizer.build(model, chosen, keeps_table_apart=device.type == "cpu")
    batches = open_batches(
        loaded, open_pairs(folder), chosen, seed=0, world=World(), num_workers=0, device=device
    )
    batch = next(batches.epoch(0))
    options = StepOptions(
        to_input=to_input(loaded),
        method=build_method(chosen),
        chunk_size=None,
        max_grad_norm=chosen.max_grad_norm,
        towers_dtype=towers_dtype("auto", device, model),
    )
    return lambda: take_step(model, update, batch, options, World())


def _timed(work: Callable[[], object], device: torch.device) -> float:
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def peak_flops(dtype: torch.dtype, device: torch.device, side: int = 4096) -> float:
    """The best of five products of two square matrices, in operations a second."""
    one, other = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return 2.0 * side**3 / min(_timed(lambda: one @ other, device) for _ in range(5))


def _operators(take: Callable[[], object], device: torch.device) -> dict[str, float]:
    """Share of the step by kind of operator, self time."""
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as profiled:
        take()
    shares: dict[str, float] = dict.fromkeys((*_KINDS, "the rest"), 0.0)
    for event in profiled.key_averages():
        spent = event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total
        kind = next((k for k, words in _KINDS.items() if any(w in event.key for w in words)), "the rest")
        shares[kind] += spent
    total = sum(shares.values()) or 1.0
    return {kind: spent / total for kind, spent in shares.items()}


def preparation(num_images: int) -> list[dict[str, Any]]:
    """Microseconds a pair on one core for each thing that the loader does."""
    jpegs, texts = list(pictures(num_images)), list(captions(num_images))
    decoded = [decode(data) for data in jpegs]
    large = _jpeg(decoded[0].resize((1600, 1200)))
    tokenize = checkpoint("demo").tokenize
    rows = {
        "decode 500×375": lambda: [decode(data) for data in jpegs],
        "resize to 224": lambda: [resize_and_crop(image, 224) for image in decoded],
        "decode and resize 1600×1200": lambda: resize_and_crop(decode(large), 224),
        "the same at a reduced scale": lambda: resize_and_crop(decode(large, 336), 224),
        "view of a caption": lambda: [
            augment_caption(text, 0.1, generator(0, "caption_view", 0, n)) for n, text in enumerate(texts)
        ],
        "tokens of a caption": lambda: tokenize(texts),
        **dict(_views(decoded)),
    }
    counts = dict.fromkeys(rows, num_images) | {
        "decode and resize 1600×1200": 1,
        "the same at a reduced scale": 1,
    }
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [
            {"what": what, "us": 1e6 * min(_timed(work, _CPU) for _ in range(5)) / counts[what]}
            for what, work in rows.items()
        ]
    finally:
        torch.set_num_threads(before)


_CPU = torch.device("cpu")


def _views(decoded: list[Image.Image]) -> Iterator[tuple[str, Callable[[], object]]]:
    """Image by image and as a batch, at the sizes of the demo, of where they cross, and of CLIP."""
    for side in (32, 64, 224):
        small = [resize_and_crop(image, side) for image in decoded]
        batch = torch.from_numpy(np.stack([np.asarray(image) for image in small])).permute(0, 3, 1, 2)
        batch = batch.contiguous()

        def singly(small: list[Image.Image] = small) -> object:
            return [
                auto_augment(image, draw_operations(generator(0, "image_view", 0, number)))
                for number, image in enumerate(small)
            ]

        def together(batch: torch.Tensor = batch) -> object:
            drawn = [draw_operations(generator(0, "image_view", 0, n)) for n in range(len(batch))]
            return augment_batch(batch, encode(drawn))

        yield f"view of {side} px, image by image", singly
        yield f"view of {side} px, as a batch", together


def _jpeg(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=90)
    return stream.getvalue()
