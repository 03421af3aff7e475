"""Writes WebDataset shards: pairs and labelled sets. Knows the layout that `pairs` and `labelled` read.

The same samples give the same bytes: members carry no time and no owner. Images are PNG, so that the pixels
that come back are the pixels that went in.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from PIL import Image

from cleanclip.vocabulary.jobspec import CLASS_NAMES_NAME, TEMPLATES_NAME

Members = dict[str, bytes]
"""Extension → bytes of one sample."""


def write_pair_shards(
    samples: Iterable[tuple[Image.Image, str]], folder: Path, shard_size: int = 1000
) -> list[Path]:
    """Write (image, caption) pairs as `pairs-00000.tar`, … with key.png and key.txt; returns the shards."""
    members = ({"png": png(image), "txt": caption.encode("utf-8")} for image, caption in samples)
    return write_shards(members, folder, shard_size, stem="pairs")


def write_labelled_shards(
    samples: Iterable[tuple[Image.Image, int]],
    folder: Path,
    class_names: Sequence[str],
    templates: Sequence[str] | None = None,
    shard_size: int = 1000,
    *,
    compress_level: int = -1,
) -> list[Path]:
    """Write (image, label) samples as `labelled-00000.tar`, … with class names and templates beside."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CLASS_NAMES_NAME).write_text("".join(f"{name}\n" for name in class_names), "utf-8")
    if templates is not None:
        (folder / TEMPLATES_NAME).write_text("".join(f"{template}\n" for template in templates), "utf-8")
    members = ({"png": png(image, compress_level), "cls": str(label).encode()} for image, label in samples)
    return write_shards(members, folder, shard_size, stem="labelled")


def write_shards(samples: Iterable[Members], folder: Path, shard_size: int, *, stem: str) -> list[Path]:
    """Write samples in order, `shard_size` a shard; the key is the sample's number."""
    folder.mkdir(parents=True, exist_ok=True)
    shards: list[Path] = []
    numbered = enumerate(samples)
    while part := list(islice(numbered, shard_size)):
        path = folder / f"{stem}-{len(shards):05d}.tar"
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
            for name, data in _named(part):
                header = tarfile.TarInfo(name)
                header.size = len(data)
                header.mode = 0o644
                archive.addfile(header, io.BytesIO(data))
        shards.append(path)
    return shards


def made_whole(folder: Path, make: Callable[[Path], object]) -> Path:
    """`folder`, which `make` fills unless it is there: aside, so that an interruption leaves no half."""
    if not folder.exists():
        unfinished = folder.with_name(f"{folder.name}.{os.getpid()}.part")
        shutil.rmtree(unfinished, ignore_errors=True)
        make(unfinished)
        try:
            unfinished.rename(folder)
        except OSError:  # another process has made the same meanwhile
            shutil.rmtree(unfinished)
    return folder


def png(image: Image.Image, compress_level: int = -1) -> bytes:
    """Lossless bytes of an image; zlib's level, 0 for none, -1 for its own choice."""
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=compress_level)
    return stream.getvalue()


def _named(samples: list[tuple[int, Members]]) -> Iterator[tuple[str, bytes]]:
    for number, members in samples:
        for extension, data in members.items():
            yield f"{number:08d}.{extension}", data
