"""Pairs in the order of their set, as batches to measure on. Knows no model and no figure.

Shapes: N pairs of a batch, C = 3, H = W = the model's image size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sanitizer.data.pairs import PairDataset
from sanitizer.data.pixels import to_model_pixels
from sanitizer.data.skipping import BadSample, SkipLedger, Skipped
from sanitizer.seeding import generator


class CaptionedBatch(NamedTuple):
    """N pairs with their indices in the set."""

    index_N: list[int]
    image_NCHW: Tensor
    """uint8"""
    captions: list[str]


class CaptionedBatches:
    """The good ones of some pairs, in order; bad ones are counted, once, and left out."""

    def __init__(
        self,
        pairs: PairDataset,
        indices: Sequence[int],
        *,
        image_size: int,
        batch_size: int,
        max_skipped_share: float,
    ) -> None:
        self.indices = indices
        self._pairs = pairs
        self._image_size = image_size
        self._batch_size = batch_size
        self._ledger = SkipLedger(len(indices), max_skipped_share)

    @property
    def num_skipped(self) -> int:
        return self._ledger.num_skipped

    @property
    def skipped_examples(self) -> tuple[str, ...]:
        return self._ledger.examples

    def __iter__(self) -> Iterator[CaptionedBatch]:
        """One pass. Raises DatasetRejected when too many pairs are bad, or all are."""
        yield from self.of(self.indices)
        if self.num_skipped == self._ledger.num_samples:
            raise self._ledger.rejection()

    def of(self, indices: Sequence[int]) -> Iterator[CaptionedBatch]:
        """Some of them only; each is read and decoded again. A batch of bad pairs only is left out."""
        for start in range(0, len(indices), self._batch_size):
            read = map(self._read, indices[start : start + self._batch_size])
            good = [sample for sample in read if sample is not None]
            if good:
                index_N, images, captions = zip(*good, strict=True)
                yield CaptionedBatch(list(index_N), torch.stack(images), list(captions))

    def _read(self, index: int) -> tuple[int, Tensor, str] | None:
        """Of the picture the model's pixels only: at its own size a batch of them may not fit into memory."""
        try:
            pair = self._pairs.read(index)
        except BadSample as bad:
            key = self._pairs.key(index)
            self._ledger.add(Skipped(index=index, key=key, reason=bad.reason, detail=bad.detail))
            return None
        return index, to_model_pixels(pair.image, self._image_size), pair.caption


def drawn(num_pairs: int, at_most: int, seed: int) -> list[int]:
    """All indices of a set or, of a larger one, `at_most` drawn without replacement; in order.

    The stream: generator(seed, "retrieval_pairs").choice(num_pairs, at_most, replace=False), then sorted.
    """
    if num_pairs <= at_most:
        return list(range(num_pairs))
    chosen = generator(seed, "retrieval_pairs").choice(num_pairs, at_most, replace=False)
    return sorted(int(index) for index in chosen)
