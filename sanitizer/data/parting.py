"""Writes some samples of a dataset as a shard of their own, byte for byte. Decodes nothing."""

import io
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

from sanitizer.data.labelled import LabelledDataset
from sanitizer.data.skipping import BadSample
from sanitizer.data.sources import RawSample
from sanitizer.seeding import generator

_BAD = RawSample(b"", {})
"""In place of a sample that cannot be read: it stays a bad one."""


def drawn(num_samples: int, num_withheld: int, seed: int) -> tuple[list[int], list[int]]:
    """Which samples are withheld and which are given, each in order: the first `num_withheld` of
    generator(seed, "withheld_images").permutation(num_samples), and the others."""
    order = generator(seed, "withheld_images").permutation(num_samples).tolist()
    return sorted(order[:num_withheld]), sorted(order[num_withheld:])


def write_samples(
    dataset: LabelledDataset, indices: Sequence[int], path: Path, *, before_read: Callable[[], None]
) -> None:
    """A shard with these samples, in this order, each under its number in `dataset`.

    The same samples give the same bytes. Raises OSError, and what `before_read` raises.
    """
    with tarfile.open(path, "x", format=tarfile.USTAR_FORMAT) as archive:
        for index in indices:
            before_read()
            try:
                sample = dataset.raw(index)
            except BadSample:
                sample = _BAD
            files = {"png": sample.image, **sample.texts}  # readers tell the format by its first bytes
            for extension, content in files.items():
                member = tarfile.TarInfo(f"{index:09d}.{extension}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
