"""Composed images as WebDataset shards: pairs, and labelled sets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from lab.testbed.glyphs import Glyphs
from lab.testbed.pictures import Pictures, class_names
from lab.testbed.writing import write_labelled_shards, write_pair_shards

SHARD_SIZE = 1000


def images(pictures: Pictures) -> Iterator[Image.Image]:
    """Every image as an RGB image, in order."""
    for image_CHW in pictures.image_NCHW:
        yield Image.fromarray(image_CHW.permute(1, 2, 0).numpy())


def write_pairs(pictures: Pictures, folder: Path) -> None:
    """Image and caption of each image."""
    write_pair_shards(zip(images(pictures), pictures.caption_N, strict=True), folder, SHARD_SIZE)


def write_labelled(glyphs: Glyphs, pictures: Pictures, folder: Path, *, is_portable: bool = False) -> None:
    """Image and label of each image, class names and zero-shot templates. `is_portable`: not compressed, so
    that the bytes do not depend on which zlib Pillow brings."""
    samples = zip(images(pictures), pictures.label_N.tolist(), strict=True)
    write_labelled_shards(
        samples,
        folder,
        class_names(glyphs),
        glyphs.zero_shot_templates,
        SHARD_SIZE,
        compress_level=0 if is_portable else -1,
    )
