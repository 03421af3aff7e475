"""What a model is trained on: pairs, or labelled images in their place. Knows no model and no method."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import Tensor

from sanitizer.data.labelled import LabelledDataset, open_labelled
from sanitizer.data.pairs import Pair, open_pairs, refuse_equal_captions
from sanitizer.errors import DatasetRejected


class TrainingData(Protocol):
    """`PairDataset` is one."""

    def __len__(self) -> int: ...

    @property
    def sha256(self) -> str: ...

    def key(self, index: int) -> str:
        """The name of the sample, for messages."""
        ...

    def read(self, index: int, at_least: int | None = None) -> Pair:
        """Read and decode sample `index`, for `at_least` see `decode`. Raises BadSample."""
        ...


class LabelsAsCaptions:
    """Labelled images in the place of pairs: the caption is the label's number, which `tokenize` reads back.

    So they are trained on in the order, with the replacements and from the caches that pairs are.
    """

    def __init__(self, labelled: LabelledDataset) -> None:
        self.labelled = labelled

    def __len__(self) -> int:
        return len(self.labelled)

    @property
    def sha256(self) -> str:
        return self.labelled.sha256

    def key(self, index: int) -> str:
        """The name of the sample, for messages."""
        return self.labelled.key(index)

    def read(self, index: int, at_least: int | None = None) -> Pair:
        """Read and decode image `index`, for `at_least` see `decode`. Raises BadSample."""
        sample = self.labelled.read(index, at_least)
        return Pair(key=sample.key, image=sample.image, caption=str(sample.label))

    @staticmethod
    def tokenize(captions: Sequence[str]) -> Tensor:
        """The labels, int64 [N, 1]."""
        return torch.tensor([[int(caption)] for caption in captions])


def open_training(path: Path, wanted: Literal["pairs", "labelled"], test: LabelledDataset) -> TrainingData:
    """Raises DatasetRejected, also where the images to train on are those of the audit."""
    if wanted == "pairs":
        pairs = open_pairs(path)
        refuse_equal_captions(pairs)
        return pairs
    labelled = open_labelled(path)
    if labelled.sha256 == test.sha256:
        raise DatasetRejected(
            "trained_on_the_test",
            "The labelled images to train on are those of the audit, which would measure nothing then.",
            "Give other images for training.",
        )
    return LabelsAsCaptions(labelled)
