"""The data owner's part: pictures into WebDataset shards, shards into the object store.

Pairs for cleaning and the labelled test set are made of scans that the poisoned training never saw.
Knows the object store, but not the service.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
from PIL import Image

from demo.digits import CLASS_NAMES, ZERO_SHOT_TEMPLATES, Pictures
from sanitizer.data.writing import write_labelled_shards, write_pair_shards

SHARD_SIZE = 1000


def images(pictures: Pictures) -> Iterator[Image.Image]:
    """Every picture as an RGB image, in order."""
    for image_CHW in pictures.image_NCHW:
        yield Image.fromarray(image_CHW.permute(1, 2, 0).numpy())


def write_pairs(pictures: Pictures, folder: Path) -> None:
    """Image and caption of each picture."""
    write_pair_shards(zip(images(pictures), pictures.caption_N, strict=True), folder, SHARD_SIZE)


def write_labelled(pictures: Pictures, folder: Path) -> None:
    """Image and label of each picture, class names and zero-shot templates."""
    samples = zip(images(pictures), pictures.label_N.tolist(), strict=True)
    write_labelled_shards(samples, folder, CLASS_NAMES, ZERO_SHOT_TEMPLATES, SHARD_SIZE)


def put(folder: Path, storage: dict[str, str], bucket: str, prefix: str) -> str:
    """Store every file of `folder` below `prefix`; returns the s3:// address of the prefix."""
    store = boto3.client("s3", **storage)  # type: ignore[call-overload]
    for path in sorted(folder.iterdir()):
        store.upload_file(str(path), bucket, f"{prefix}/{path.name}")
    return f"s3://{bucket}/{prefix}/"
