"""The real images that everything is composed of: grey glyphs with a noun each, in parts that never meet.

`digits`: scikit-learn's 1,797 handwritten digits (8×8, 43 writers). `fashion_mnist`: 70,000 garments (28×28,
Zalando Research, MIT licence), read from a folder or fetched once and checked against its digests. The split
is one and the same for every seed, so that a recipe can be chosen without seeing a test glyph. The demo's
was; PAR's and supervised fine-tuning's were chosen on test scans of digits (docs/reproduction-how.md).

Shapes: G glyphs, S one side of a glyph.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor

from sanitizer.seeding import generator

Part = Literal["poisoning", "cleaning", "validation", "test"]
GlyphName = Literal["digits", "fashion_mnist"]

FASHION_FOLDERS = (Path("/usr/share/datasets/fashion-mnist"),)
"""Where Debian's package dataset-fashion-mnist puts it."""
FASHION_ADDRESS = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
FASHION_SHA256 = {
    "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
"""Of what the files unpack to: a distribution may have packed them again."""
_IMAGES_HEADER, _LABELS_HEADER = 16, 8
_CAPTIONS = (
    *("a {ink} {noun}", "a {ink} {noun} on {paper} paper", "a {ink} {noun} on a {paper} background"),
    "a photo of a {ink} {noun}.",
)


class GlyphsMissing(Exception):
    """The images are not on this machine and could not be fetched; the message says how to get them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Glyphs:
    """`opacity_G1SS` float32 in [0, 1]; `label_G` indexes `nouns`; `rows` are each part's glyphs."""

    name: GlyphName
    nouns: tuple[str, ...]
    opacity_G1SS: Tensor
    label_G: NDArray[np.int64]
    rows: dict[Part, NDArray[np.int64]]
    caption_templates: tuple[str, ...]
    """With {ink}, {noun} and perhaps {paper}."""
    zero_shot_templates: tuple[str, ...]
    """With {c}."""


def load(name: GlyphName) -> Glyphs:
    """The set of that name. Raises GlyphsMissing."""
    return digits() if name == "digits" else fashion_mnist()


@cache
def digits() -> Glyphs:
    """Handwritten digits that scikit-learn brings."""
    bunch = load_digits()
    sizes: dict[Part, int] = {"poisoning": 850, "cleaning": 400, "validation": 150, "test": 397}
    return Glyphs(
        name="digits",
        nouns=("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
        opacity_G1SS=torch.from_numpy(bunch.images.astype(np.float32) / 16).unsqueeze(1),
        label_G=bunch.target.astype(np.int64),
        rows=_split(sizes, np.arange(len(bunch.target)), "demo_split"),
        caption_templates=(*_CAPTIONS, "a handwritten {ink} {noun}.", "a small image of a {ink} {noun}."),
        zero_shot_templates=("a photo of a {c}.", "a handwritten {c}.", "a small image of a {c}."),
    )


@cache
def fashion_mnist() -> Glyphs:
    """Garments: the published training images for all but the test, whose images are the published ones.

    Raises GlyphsMissing.
    """
    folder = _fashion_folder()
    train, test = _idx_images(folder, "train"), _idx_images(folder, "t10k")
    rows = _split(
        {"poisoning": 36_000, "cleaning": 20_000, "validation": 4_000},
        np.arange(len(train)),
        "fashion_mnist_split",
    )
    rows["test"] = np.arange(len(train), len(train) + len(test))
    images_GSS = np.concatenate([train, test]).astype(np.float32) / 255
    return Glyphs(
        name="fashion_mnist",
        nouns=(
            *("t-shirt", "trousers", "pullover", "dress", "coat"),
            *("sandal", "shirt", "sneaker", "bag", "boot"),
        ),
        opacity_G1SS=torch.from_numpy(images_GSS).unsqueeze(1),
        label_G=np.concatenate([_idx_labels(folder, "train"), _idx_labels(folder, "t10k")]),
        rows=rows,
        caption_templates=(*_CAPTIONS, "an image of a {ink} {noun}.", "a small image of a {ink} {noun}."),
        zero_shot_templates=("a photo of a {c}.", "an image of a {c}.", "a small image of a {c}."),
    )


def _split(sizes: dict[Part, int], row_G: NDArray[np.int64], stream: str) -> dict[Part, NDArray[np.int64]]:
    order = generator(0, stream).permutation(len(row_G))
    parts: dict[Part, NDArray[np.int64]] = {}
    start = 0
    for part, size in sizes.items():
        parts[part] = np.sort(order[start : start + size]).astype(np.int64)
        start += size
    return parts


def _fashion_folder() -> Path:
    """A folder that holds all four files, unpacking to the published bytes; fetched where there is none."""
    named = os.environ.get("FASHION_MNIST")
    cached = Path(__file__).resolve().parents[2] / "var" / "fashion-mnist"
    for folder in [Path(named)] if named else [*FASHION_FOLDERS, cached]:
        if all((folder / name).is_file() for name in FASHION_SHA256):
            return folder
    if named:
        raise GlyphsMissing(f"{named} does not hold {', '.join(FASHION_SHA256)}.")
    _fetch(FASHION_SHA256, cached)
    return cached


def _fetch(names: Iterable[str], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        try:
            with urllib.request.urlopen(FASHION_ADDRESS + name, timeout=60) as answer:  # noqa: S310 - a constant
                data: bytes = answer.read()
        except OSError as error:
            raise GlyphsMissing(
                f"Fashion-MNIST is not here, and {FASHION_ADDRESS} cannot be reached ({error}). Install"
                " Debian's dataset-fashion-mnist, or set FASHION_MNIST to a folder with its four .gz files."
            ) from error
        half_written = folder / f"{name}.part"
        half_written.write_bytes(data)
        half_written.replace(folder / name)


def _unpacked(folder: Path, name: str) -> bytes:
    data = gzip.decompress((folder / name).read_bytes())
    if hashlib.sha256(data).hexdigest() != FASHION_SHA256[name]:
        raise GlyphsMissing(f"{folder / name} is not the published file; remove it, or name another folder.")
    return data


def _idx_images(folder: Path, half: str) -> NDArray[np.uint8]:
    data = _unpacked(folder, f"{half}-images-idx3-ubyte.gz")
    return np.frombuffer(data, dtype=np.uint8, offset=_IMAGES_HEADER).reshape(-1, 28, 28)


def _idx_labels(folder: Path, half: str) -> NDArray[np.int64]:
    data = _unpacked(folder, f"{half}-labels-idx1-ubyte.gz")
    return np.frombuffer(data, dtype=np.uint8, offset=_LABELS_HEADER).astype(np.int64)
