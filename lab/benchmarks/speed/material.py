"""What both sides work on: models with random weights and JPEG images of realistic size. Times nothing.

Images are random crops, mirrored and re-lit, of scikit-learn's two sample photographs (CC BY), so that they
cost what photographs cost to decode: 500×375, JPEG of quality 90, about 60 KB.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from cleanclip.vocabulary.jobspec import CLASS_NAMES_NAME
from lab.testbed.writing import write_shards
from sanitizer.checkpoints.architecture import Architecture
from sanitizer.checkpoints.model import LoadedCheckpoint, build_clip
from sanitizer.checkpoints.tower_configs import Blocks, TextTransformer, VisionTransformer
from sanitizer.seeding import generator

PICTURE_SIZE = (500, 375)
_QUALITY = 90
_WHAT = (
    *("dog", "cat", "boat", "child", "tower", "bridge"),
    *("flower", "horse", "market", "train", "window", "mountain"),
)
_HOW = ["old", "small", "bright", "wooden", "red", "quiet", "broken", "tall", "wet", "golden"]
_WHERE = (
    *("in the rain", "near the river", "on a busy street"),
    *("at sunset", "behind a fence", "in front of the house"),
)


def architecture(name: str) -> Architecture:
    """ViT-B/32 as published, or a "tiny ViT" to try things with."""
    if name == "ViT-B/32":
        blocks = Blocks(width=768, layers=12, heads=12, mlp_width=3072)
        text = _text(Blocks(width=512, layers=12, heads=8, mlp_width=2048), 77)
        vit = VisionTransformer(blocks=blocks, patch_size=32, image_size=224)
        return Architecture(embed_dim=512, vision=vit, text=text, quick_gelu=True)
    blocks = Blocks(width=64, layers=2, heads=1, mlp_width=256)
    vit = VisionTransformer(blocks=blocks, patch_size=8, image_size=32)
    return Architecture(embed_dim=32, vision=vit, text=_text(blocks, 16), quick_gelu=True)


def _text(blocks: Blocks, context_length: int) -> TextTransformer:
    return TextTransformer(blocks=blocks, context_length=context_length, vocab_size=49408)


def checkpoint(name: str) -> LoadedCheckpoint:
    """Random weights, always the same."""
    shape = architecture(name)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_clip(shape)
    return LoadedCheckpoint(model=model.eval(), architecture=shape, weights_sha256=f"random-{name}")


def pictures(num_pictures: int, size: tuple[int, int] = PICTURE_SIZE) -> Iterator[bytes]:
    """JPEG bytes."""
    photographs = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    for index in range(num_pictures):
        draws = generator(0, "benchmark_picture", index)
        photograph = photographs[index % len(photographs)]
        side = float(draws.uniform(0.5, 1.0))
        width, height = round(photograph.width * side), round(photograph.height * side)
        left = int(draws.integers(photograph.width - width + 1))
        top = int(draws.integers(photograph.height - height + 1))
        cut = photograph.crop((left, top, left + width, top + height)).resize(size, Image.Resampling.LANCZOS)
        if draws.random() < 0.5:
            cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        light = draws.uniform(0.7, 1.3, 3)
        lit = Image.fromarray((np.asarray(cut) * light).clip(0, 255).astype(np.uint8))
        stream = io.BytesIO()
        lit.save(stream, "JPEG", quality=_QUALITY)
        yield stream.getvalue()


def captions(num_captions: int) -> Iterator[str]:
    """About ten words each, as web captions have."""
    for index in range(num_captions):
        draws = generator(0, "benchmark_caption", index)
        one, other = (str(draws.choice(_WHAT)) for _ in range(2))
        how, where = str(draws.choice(_HOW)), str(draws.choice(_WHERE))
        yield f"a photo of a {how} {one} beside the {other} {where}, number {index}"


def write_pairs(
    folder: Path, num_pairs: int, size: tuple[int, int] = PICTURE_SIZE, *, num_different: int | None = None
) -> Path:
    """Files beside each other and a manifest, as the research code wants them; ours reads it too.

    Pairs beyond `num_different` have the images of the first ones, as links to their files.
    """
    folder.mkdir(parents=True)
    names = [f"{index:06d}.jpg" for index in range(num_pairs)]
    num_made = min(num_pairs, num_different or num_pairs)
    for name, picture in zip(names, pictures(num_made, size), strict=False):
        (folder / name).write_bytes(picture)
    for index in range(num_made, num_pairs):
        (folder / names[index]).hardlink_to(folder / names[index % num_made])
    with (folder / "pairs.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "caption"), *zip(names, captions(num_pairs), strict=True)])
    return folder


def write_labelled(folder: Path, num_images: int, num_classes: int) -> Path:
    """One shard with labels and class names."""
    folder.mkdir(parents=True)
    names = [f"{_HOW[index % len(_HOW)]} {_WHAT[index % len(_WHAT)]} {index}" for index in range(num_classes)]
    (folder / CLASS_NAMES_NAME).write_text("".join(f"{name}\n" for name in names), "utf-8")
    samples = (
        {"jpg": picture, "cls": str(index % num_classes).encode()}
        for index, picture in enumerate(pictures(num_images))
    )
    write_shards(samples, folder, 1000, stem="labelled")
    return folder
