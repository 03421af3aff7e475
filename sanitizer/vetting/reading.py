"""Samples of a dataset in blocks, each image at the size of every model that embeds it.

Shapes: N samples of a block, C = 3, H = W = a model's image size.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from sanitizer.data.labelled import Labelled, LabelledDataset
from sanitizer.data.loader_processes import BuiltAhead, busy_workers
from sanitizer.data.pairs import Pair, PairDataset
from sanitizer.data.pixels import to_model_pixels
from sanitizer.data.skipping import CountsSkipped, Readable, SkipLedger, Skipped, good_ones

Dataset: TypeAlias = PairDataset | LabelledDataset

BLOCK = 128
"""Samples that are embedded together. A run that was stopped goes on at the start of a block, so that every
embedding is made in the same company, and is the same to the last bit."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """The good ones of at most BLOCK samples. `place_N`: which of the samples asked for they are."""

    start: int
    size: int
    """With the bad ones."""
    place_N: list[int]
    images: tuple[Tensor, ...]
    """uint8 [N, C, H, W] for each model; none where no sample is good."""
    texts: list[str]
    """Captions; of labelled images empty."""
    labels: list[int]
    pixels_sha256: tuple[str, ...]
    """Of each image as the first model sees it."""


class Blocks(CountsSkipped):
    """Good samples of `indices`, block by block from the one that starts at `start`; bad ones are counted."""

    def __init__(
        self,
        dataset: Dataset,
        indices: Sequence[int],
        *,
        image_sizes: Sequence[int],
        max_skipped_share: float,
        num_workers: int,
        start: int = 0,
        skipped: Sequence[Skipped] = (),
    ) -> None:
        """`skipped`: the bad samples that an earlier run met before `start`."""
        self._ledger = SkipLedger(len(indices), max_skipped_share)
        for one in skipped:
            self._ledger.add(one)
        starts = range(start, len(indices), BLOCK)
        assembler = _Assembler(dataset, indices, tuple(image_sizes))
        self._built = BuiltAhead(assembler.build, starts, busy_workers(num_workers, num_batches=len(starts)))

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """The bad samples met so far."""
        return self._ledger.skipped

    def __iter__(self) -> Iterator[Block]:
        """Raises DatasetRejected when too many samples are bad, or all are."""
        yield from self._counted(self._built)
        if self.num_skipped == self._ledger.num_samples:
            raise self._ledger.rejection()


class _Assembler:
    """A function first place → block."""

    def __init__(self, dataset: Dataset, indices: Sequence[int], image_sizes: tuple[int, ...]) -> None:
        self._dataset, self._indices, self._sizes = dataset, indices, image_sizes

    def build(self, start: int) -> tuple[Block, tuple[Skipped, ...]]:
        """The block from place `start` on, and its bad samples."""
        asked = self._indices[start : start + BLOCK]
        place_of = {index: start + number for number, index in enumerate(asked)}
        places: list[int] = []
        images: list[list[Tensor]] = [[] for _ in self._sizes]
        texts: list[str] = []
        labels: list[int] = []
        skipped: list[Skipped] = []
        readable: Readable[Pair | Labelled] = self._dataset
        for index, sample in good_ones(readable, asked, skipped):
            places.append(place_of[index])
            for made, size in zip(images, self._sizes, strict=True):
                made.append(to_model_pixels(sample.image, size))
            if isinstance(sample, Labelled):
                labels.append(sample.label)
            else:
                texts.append(sample.caption)
        block = Block(
            start=start,
            size=len(asked),
            place_N=places,
            images=tuple(torch.stack(made) for made in images if made),
            texts=texts,
            labels=labels,
            pixels_sha256=tuple(hashlib.sha256(one.numpy().tobytes()).hexdigest() for one in images[0]),
        )
        return block, tuple(skipped)
