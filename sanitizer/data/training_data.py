"""What a model is trained on: pairs, or labelled images in their place."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from cleanclip.vocabulary.exclusions import ExcludedSamples
from sanitizer.data.labelled import LabelledDataset
from sanitizer.data.pairs import Pair


class TrainingData(Protocol):
    """`PairDataset` is one."""

    def __len__(self) -> int: ...

    @property
    def sha256(self) -> str: ...

    def key(self, index: int) -> str:
        """The name of the sample, for messages."""

    def read(self, index: int, at_least: int | None = None) -> Pair:
        """Read and decode sample `index`, for `at_least` see `decode`. Raises BadSample."""


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

    @property
    def files_sha256(self) -> str:
        """As `LabelledDataset`'s."""
        return self.labelled.files_sha256

    @property
    def excluded(self) -> ExcludedSamples | None:
        """As `LabelledDataset`'s."""
        return self.labelled.excluded

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
