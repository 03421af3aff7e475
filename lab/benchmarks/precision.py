"""Prints the time of one CleanCLIP step in fp32 and bf16, for a small and two full-size models, on this host.

    python -m lab.benchmarks.precision [--batch 16] [--steps 3] [--models tiny RN50 ViT-B/32]

Arithmetic only: batches are random and made before the clock starts. Steps of both precisions alternate, and
the fastest of each is printed, so that other work on the machine disturbs both alike.
"""

from __future__ import annotations

import argparse
import time

import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

from cleanclip.spec.recipe import CleanCLIPRecipe
from sanitizer.data.batches import PairBatch
from sanitizer.methods.catalogue import build_method
from sanitizer.training import device, optimizer, towers
from sanitizer.training.distributed import World
from sanitizer.training.step import StepOptions, take_step

CAPTION_LENGTH = 14


def build(name: str) -> tuple[CLIP, int, int]:
    """Model with random weights, image size, context length."""
    match name:
        case "tiny":
            vision = CLIPVisionCfg(layers=(1, 1, 1, 1), width=24, image_size=32, patch_size=None)
            return CLIP(64, vision, CLIPTextCfg(context_length=16, width=64, heads=1, layers=2)), 32, 16
        case "RN50":
            vision = CLIPVisionCfg(layers=(3, 4, 6, 3), width=64, image_size=224, patch_size=None)
            return CLIP(1024, vision, CLIPTextCfg()), 224, 77
        case "ViT-B/32":
            vision = CLIPVisionCfg(layers=12, width=768, image_size=224, patch_size=32)
            return CLIP(512, vision, CLIPTextCfg()), 224, 77
        case _:
            raise ValueError(name)


def random_batch(num_pairs: int, image_size: int, context_length: int) -> PairBatch:
    """Noise, and captions of `CAPTION_LENGTH` tokens."""
    image = torch.randint(0, 256, (num_pairs, 3, image_size, image_size), dtype=torch.uint8)
    tokens = torch.zeros(num_pairs, context_length, dtype=torch.int64)
    tokens[:, 0] = 49406
    tokens[:, 1 : CAPTION_LENGTH - 1] = torch.randint(1, 49000, (num_pairs, CAPTION_LENGTH - 2))
    tokens[:, CAPTION_LENGTH - 1] = 49407
    return PairBatch(image_NCHW=image, image_view_NCHW=image, tokens_NL=tokens, tokens_view_NL=tokens)


def to_input(image_NCHW: torch.Tensor) -> torch.Tensor:
    return ((image_NCHW.float() / 255 - 0.45) / 0.27).contiguous(memory_format=torch.channels_last)


def measure(name: str, num_pairs: int, num_steps: int, where: torch.device) -> str:
    """One line of the table."""
    model, image_size, context_length = build(name)
    model.to(device=where, memory_format=torch.channels_last)
    towers.prepare(model, freeze_batch_norm_statistics=True)
    device.share_cores(model, where)
    update = optimizer.build(model, CleanCLIPRecipe())
    batch = random_batch(num_pairs, image_size, context_length)
    fastest = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    for step in range(num_steps + 1):
        for dtype, so_far in fastest.items():
            options = StepOptions(
                to_input=to_input,
                method=build_method(CleanCLIPRecipe()),
                chunk_size=None,
                max_grad_norm=1.0,
                towers_dtype=dtype,
            )
            began = time.perf_counter()
            take_step(model, update, batch, options, World())
            if step > 0:  # the first one warms up
                fastest[dtype] = min(so_far, time.perf_counter() - began)
    fp32, bf16 = fastest[torch.float32], fastest[torch.bfloat16]
    threads = torch.get_num_threads()
    return (
        f"{name:10} {threads:7} {fp32:9.3f} {bf16:9.3f} {fp32 / bf16:7.2f} "
        f"{num_pairs / fp32:9.1f} {num_pairs / bf16:9.1f}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--models", nargs="+", default=["tiny", "RN50", "ViT-B/32"])
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    where = device.pick(arguments.device)
    print(f"torch {torch.__version__}, {where}, batch {arguments.batch}")
    print(
        f"{'model':10} {'threads':>7} {'fp32 s':>9} {'bf16 s':>9} {'ratio':>7} {'pairs/s':>9} {'pairs/s':>9}"
    )
    for name in arguments.models:
        print(measure(name, arguments.batch, arguments.steps, where), flush=True)


if __name__ == "__main__":
    main()
