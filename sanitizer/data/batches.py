"""Batches for training and for audits, in a fixed order. Handles seeds, ranks and positions; needs no model.

Shapes: N samples of a batch, C = 3, H = W = the model's image size, L = the model's context length.

The order of pairs is a permutation by (seed, epoch); rank r of w takes every w-th from r on, so that no pair
is seen twice in an epoch by all ranks together. What is drawn for a pair depends on (seed, epoch, index of
the pair) alone: batches are the same whatever the number of workers and wherever a run was cut.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from cleanclip.vocabulary.cautions import check_filled
from sanitizer.augment.perturbation import Perturbation
from sanitizer.data.assembly import PairAssembler
from sanitizer.data.labelled import LabelledDataset
from sanitizer.data.loader_processes import BuiltAhead, busy_workers
from sanitizer.data.pixels import to_model_pixels
from sanitizer.data.skipping import CountsSkipped, SkipLedger, Skipped, good_ones
from sanitizer.data.training_data import TrainingData

Position = tuple[int, int]
"""(epoch, step)"""


@dataclass(frozen=True, kw_only=True)
class PairBatch:
    """N pairs, and their augmented views where there are any."""

    image_NCHW: Tensor
    """uint8"""
    tokens_NL: Tensor
    """int64; of labelled images the labels, [N, 1]"""
    image_view_NCHW: Tensor | None = None
    """uint8"""
    operation_N2: Tensor | None = None
    """int64; in the place of `image_view_NCHW` where the device is to make the views, by `augment_batch`"""
    tokens_view_NL: Tensor | None = None
    """int64"""


class PairBatches(CountsSkipped):
    """Full batches of both views, epoch after epoch. The last, short batch of an epoch is left out.

    A bad pair is counted and replaced by another one of the set, drawn by (seed, epoch, index), so that every
    batch is full on every rank.
    """

    def __init__(
        self,
        dataset: TrainingData,
        *,
        tokenize: Callable[[Sequence[str]], Tensor],
        image_size: int,
        batch_size: int,
        seed: int,
        eda_alpha: float | None,
        max_skipped_share: float,
        rank: int = 0,
        world_size: int = 1,
        num_workers: int = 0,
        perturbation: Perturbation | None = None,
        draws_views_only: bool = False,
    ) -> None:
        """`batch_size` is that of this rank; `eda_alpha` None: no views. A perturbation changes the images.
        `draws_views_only`: of the images' views only what they are made of (`PairBatch.operation_N2`).

        Raises OptionsRejected `batch_larger_than_data` if the data do not fill one batch on each rank.
        """
        check_filled(batch_size * world_size, len(dataset))
        self.steps_per_epoch = len(dataset) // world_size // batch_size
        assembler = PairAssembler(
            dataset,
            tokenize=tokenize,
            image_size=image_size,
            batch_size=batch_size,
            seed=seed,
            eda_alpha=eda_alpha,
            rank=rank,
            world_size=world_size,
            perturbation=perturbation,
            num_processes=max(1, num_workers) * world_size,
            draws_views_only=draws_views_only,
        )
        self._ledger = SkipLedger(len(dataset), max_skipped_share)
        self._positions = _Positions(self.steps_per_epoch)
        self._built = BuiltAhead(assembler.build, self._positions, num_workers)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """All of them, to be kept with a training state and given to `recall` when a run is resumed."""
        return self._ledger.skipped

    def recall(self, skipped: Iterable[Skipped]) -> None:
        """Count the bad pairs that the run met before it was cut. Raises DatasetRejected as `epoch` does."""
        for one in skipped:
            self._ledger.add(one)

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[PairBatch]:
        """The batches of `epoch` from `start_step` on. Raises DatasetRejected when too many pairs are bad."""
        self._positions.epoch, self._positions.start_step = epoch, start_step
        for batch in self._built:
            for skipped in batch.skipped:
                self._ledger.add(skipped)
            views = batch.views
            if views is None:
                raise self._ledger.rejection()
            yield PairBatch(
                image_NCHW=views.image,
                image_view_NCHW=views.image_view,
                operation_N2=views.operations,
                tokens_NL=views.tokens,
                tokens_view_NL=views.tokens_view,
            )


class LabelledBatch(NamedTuple):
    """N images in the order of the dataset, with their indices in it."""

    index_N: list[int]
    image_NCHW: Tensor
    """uint8"""
    label_N: Tensor
    """int64"""


class LabelledBatches(CountsSkipped):
    """Good images of a set, all or those of `indices`, in order; bad ones are counted and left out."""

    def __init__(
        self,
        dataset: LabelledDataset,
        *,
        image_size: int,
        batch_size: int,
        max_skipped_share: float,
        num_workers: int = 0,
        indices: Sequence[int] | None = None,
    ) -> None:
        asked = range(len(dataset)) if indices is None else indices
        assembler = _LabelledAssembler(dataset, asked, image_size, batch_size)
        self._ledger = SkipLedger(len(asked), max_skipped_share)
        self._starts = range(0, len(asked), batch_size)
        self._built = BuiltAhead(
            assembler.build, self._starts, busy_workers(num_workers, num_batches=len(self))
        )

    def __len__(self) -> int:
        """How many batches one pass has at most (a batch of bad images only is left out)."""
        return len(self._starts)

    def __iter__(self) -> Iterator[LabelledBatch]:
        """One pass. Raises DatasetRejected when too many images are bad."""
        yield from self._counted(self._built)
        if self.num_skipped and self.num_skipped == self._ledger.num_samples:
            raise self._ledger.rejection()


class _LabelledAssembler:
    """A function first index → batch."""

    def __init__(
        self, dataset: LabelledDataset, asked: Sequence[int], image_size: int, batch_size: int
    ) -> None:
        self._dataset = dataset
        self._asked = asked
        self._image_size = image_size
        self._batch_size = batch_size

    def build(self, start: int) -> tuple[LabelledBatch | None, tuple[Skipped, ...]]:
        """The good images of `batch_size` from place `start` on (None if there is none), and the bad ones."""
        indices: list[int] = []
        images: list[Tensor] = []
        labels: list[int] = []
        skipped: list[Skipped] = []
        asked = self._asked[start : start + self._batch_size]
        for index, sample in good_ones(self._dataset, asked, skipped):
            indices.append(index)
            images.append(to_model_pixels(sample.image, self._image_size))
            labels.append(sample.label)
        if not indices:
            return None, tuple(skipped)
        return LabelledBatch(indices, torch.stack(images), torch.tensor(labels)), tuple(skipped)


class _Positions:
    """The steps that are left of the epoch; the loader asks again at the start of each."""

    def __init__(self, steps_per_epoch: int) -> None:
        self.epoch = 0
        self.start_step = 0
        self._steps_per_epoch = steps_per_epoch

    def __len__(self) -> int:
        return max(0, self._steps_per_epoch - self.start_step)

    def __iter__(self) -> Iterator[Position]:
        epoch = self.epoch
        return ((epoch, step) for step in range(self.start_step, self._steps_per_epoch))
