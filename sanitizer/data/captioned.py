"""Pairs in the order of their set, as batches to measure on.

Shapes: N pairs of a batch, C = 3, H = W = the model's image size.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sanitizer.data.loader_processes import BuiltAhead, busy_workers
from sanitizer.data.pairs import PairDataset
from sanitizer.data.pixels import to_model_pixels
from sanitizer.data.skipping import CountsSkipped, SkipLedger, Skipped, good_ones
from sanitizer.seeding import generator


class CaptionedBatch(NamedTuple):
    """N pairs with their indices in the set."""

    index_N: list[int]
    image_NCHW: Tensor
    """uint8"""
    captions: list[str]


class CaptionedBatches(CountsSkipped):
    """The good ones of some pairs, in order; bad ones are counted, once, and left out."""

    def __init__(
        self,
        pairs: PairDataset,
        indices: Sequence[int],
        *,
        image_size: int,
        batch_size: int,
        max_skipped_share: float,
        num_workers: int = 0,
    ) -> None:
        self.indices = indices
        self._ledger = SkipLedger(len(indices), max_skipped_share)
        self._chunks = _Chunks(indices, batch_size)
        assembler = _CaptionedAssembler(pairs, image_size)
        self._built = BuiltAhead(
            assembler.build, self._chunks, busy_workers(num_workers, num_batches=len(self._chunks))
        )

    def __iter__(self) -> Iterator[CaptionedBatch]:
        """One pass. Raises DatasetRejected when too many pairs are bad, or all are."""
        yield from self.of(self.indices)
        if self.num_skipped == self._ledger.num_samples:
            raise self._ledger.rejection()

    def of(self, indices: Sequence[int]) -> Iterator[CaptionedBatch]:
        """Some of them only; each is read and decoded again. A batch of bad pairs only is left out."""
        self._chunks.indices = indices
        yield from self._counted(self._built)


class _Chunks:
    """`indices` in batches; whoever iterates gets those of the moment."""

    def __init__(self, indices: Sequence[int], batch_size: int) -> None:
        self.indices = indices
        self._batch_size = batch_size

    def __len__(self) -> int:
        return math.ceil(len(self.indices) / self._batch_size)

    def __iter__(self) -> Iterator[Sequence[int]]:
        indices, size = self.indices, self._batch_size
        return (indices[start : start + size] for start in range(0, len(indices), size))


class _CaptionedAssembler:
    """A function indices → batch."""

    def __init__(self, pairs: PairDataset, image_size: int) -> None:
        self._pairs = pairs
        self._image_size = image_size

    def build(self, indices: Sequence[int]) -> tuple[CaptionedBatch | None, tuple[Skipped, ...]]:
        """The good pairs (None if there is none), and the bad ones.

        Of an image the model's pixels only: at its own size a batch of them may not fit into memory.
        """
        good: list[int] = []
        images: list[Tensor] = []
        captions: list[str] = []
        skipped: list[Skipped] = []
        for index, pair in good_ones(self._pairs, indices, skipped):
            good.append(index)
            images.append(to_model_pixels(pair.image, self._image_size))
            captions.append(pair.caption)
        if not good:
            return None, tuple(skipped)
        return CaptionedBatch(good, torch.stack(images), captions), tuple(skipped)


def draw_indices(num_pairs: int, at_most: int, seed: int) -> list[int]:
    """All indices of a set or, of a larger one, `at_most` drawn without replacement; in order.

    The stream: generator(seed, "retrieval_pairs").choice(num_pairs, at_most, replace=False), then sorted.
    """
    if num_pairs <= at_most:
        return list(range(num_pairs))
    chosen = generator(seed, "retrieval_pairs").choice(num_pairs, at_most, replace=False)
    return sorted(int(index) for index in chosen)
