"""The pass over a dataset: every good sample under the suspect and, if there is one, under the anchor.

What is read once is kept as rows on disk (`vetting.row_files`), so that a run that was stopped goes on where
it was, and scores need no second pass.

Shapes: N samples of a block, D embedding width, C = 3, H = W a model's image size.

Score `sensitivity`: how far one part of an image decides its embedding.

    max_m ( 1 − cos( f(x), f(m(x)) ) )        m: five masks and three blurs

A small trigger decides the whole embedding, and without it the embedding is another. The masks set one
quadrant or the middle to the image's mean colour; the blurs have standard deviations of 1/64, 1/32 and 1/16
of the side. Masking an input and watching the output is an old idea (occlusion, Zeiler and Fergus, ECCV
2014; STRIP, ACSAC 2019, does it to find triggers). It takes eight more passes of the image tower.

Shapes: N images, C = 3, H = W = S pixels, D embedding width.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from cleanclip.vocabulary.errors import DatasetRejected, Interrupted
from cleanclip.vocabulary.recipe import AuditPrecision
from sanitizer.audits.zero_shot import TEXTS_AT_ONCE, class_embeddings, image_embeddings, text_embeddings
from sanitizer.data.labelled import LabelledDataset
from sanitizer.data.pixels import normalise
from sanitizer.data.skipping import Skipped
from sanitizer.data.templates import IMAGENET_80
from sanitizer.scans.subject import embeddings_constant
from sanitizer.vetting.reading import Block, Blocks, Dataset
from sanitizer.vetting.row_files import RowFiles

if TYPE_CHECKING:
    from sanitizer.checkpoints.model import LoadedCheckpoint


BLURS = (1 / 64, 1 / 32, 1 / 16)
"""Standard deviations as shares of the side."""


def changed(image_NCHW: Tensor) -> Iterator[Tensor]:
    """Eight versions of the images, which are floating point in [0, 1]."""
    side = image_NCHW.shape[-1]
    half, quarter = side // 2, side // 4
    mean_NC11 = image_NCHW.mean(dim=(2, 3), keepdim=True)
    for top, left in ((0, 0), (0, half), (half, 0), (half, half), (quarter, quarter)):
        masked = image_NCHW.clone()
        masked[:, :, top : top + half, left : left + half] = mean_NC11
        yield masked
    for share in BLURS:
        yield _blurred(image_NCHW, share * side)


def sensitivity(image_NCHW: Tensor, unit_ND: Tensor, embed: Callable[[Tensor], Tensor]) -> Tensor:
    """[N]. `embed` gives unit embeddings of pixels in [0, 1]; `unit_ND` are those of the images
    themselves."""
    least_N = torch.ones(len(image_NCHW), dtype=unit_ND.dtype, device=unit_ND.device)
    for version in changed(image_NCHW):
        least_N = torch.minimum(least_N, (embed(version) * unit_ND).sum(dim=1))
    return 1 - least_N


def _blurred(image_NCHW: Tensor, sigma: float) -> Tensor:
    """Gaussian, to three standard deviations; the border's pixels repeat."""
    reach = max(1, round(3 * sigma))
    place = torch.arange(-reach, reach + 1, dtype=image_NCHW.dtype, device=image_NCHW.device)
    weight = torch.exp(-0.5 * (place / sigma) ** 2)
    weight = weight / weight.sum()
    channels = image_NCHW.shape[1]
    for shape, padding in (((1, 1, -1, 1), (0, 0, reach, reach)), ((1, 1, 1, -1), (reach, reach, 0, 0))):
        kernel = weight.view(shape).expand(channels, 1, *weight.view(shape).shape[2:])
        image_NCHW = functional.conv2d(
            functional.pad(image_NCHW, padding, mode="replicate"), kernel, groups=channels
        )
    return image_NCHW


_SAME = 1e-6
"""Unit embeddings whose mean is this near to unit length differ by rounding only."""


class Embedder:
    """One model, which must be in `measuring`: pixels and texts → unit embeddings, float64 (float32 on
    MPS)."""

    def __init__(
        self, checkpoint: LoadedCheckpoint, device: torch.device, precision: AuditPrecision = "fp32"
    ) -> None:
        self.checkpoint = checkpoint
        self._device, self._precision = device, precision
        self._classes: dict[tuple[str, ...], Tensor] = {}

    @property
    def width(self) -> int:
        """D."""
        return self.checkpoint.architecture.embed_dim

    def pixels(self, image_NCHW: Tensor) -> Tensor:
        """uint8 → [0, 1], on the model's device."""
        return image_NCHW.to(self._device, non_blocking=True).float() / 255

    def images(self, image_NCHW: Tensor) -> Tensor:
        """[N, D] of pixels in [0, 1]. Raises CheckpointRejected `embeddings_not_finite`."""
        architecture = self.checkpoint.architecture
        pixels_NCHW = normalise(image_NCHW, architecture.image_mean, architecture.image_std)
        return functional.normalize(
            image_embeddings(self.checkpoint, pixels_NCHW, precision=self._precision), dim=-1
        )

    def captions(self, texts: Sequence[str]) -> Tensor:
        """[N, D]; equal texts are embedded once. Raises as `images` does."""
        distinct = sorted(set(texts))
        row = {text: number for number, text in enumerate(distinct)}
        chunks = [
            text_embeddings(
                self.checkpoint,
                self.checkpoint.tokenize(distinct[start : start + TEXTS_AT_ONCE]),
                self._device,
                precision=self._precision,
            )
            for start in range(0, len(distinct), TEXTS_AT_ONCE)
        ]
        return torch.cat(chunks)[[row[text] for text in texts]]

    def classes(self, labelled: LabelledDataset) -> Tensor:
        """[classes, D] by the set's templates, else ImageNet's 80. Raises as `images` does."""
        names, templates = labelled.class_names, labelled.templates or IMAGENET_80
        if (*names, *templates) not in self._classes:
            self._classes[*names, *templates] = class_embeddings(
                self.checkpoint, names, templates, self._device, precision=self._precision
            )
        return self._classes[*names, *templates]


@dataclass(frozen=True, kw_only=True)
class Models:
    """The suspect, and the anchor if there is one."""

    suspect: Embedder
    anchor: Embedder | None = None

    @property
    def by_name(self) -> Mapping[str, Embedder]:
        return {"suspect": self.suspect} | ({} if self.anchor is None else {"anchor": self.anchor})

    def widths(self, *, has_sensitivity: bool) -> dict[str, int]:
        """Of the fields of `RowFiles`."""
        widths = {"good": 1} | ({"sensitivity": 1} if has_sensitivity else {})
        for name, model in self.by_name.items():
            widths |= {f"{name}_image": model.width, f"{name}_text": model.width}
        return widths


@dataclass(frozen=True, kw_only=True)
class Passed:
    """A set that the pass has been over: its rows, and which of its samples are good."""

    dataset: Dataset
    indices: Sequence[int]
    """Of the samples in the dataset; a row is the place here."""
    files: RowFiles
    skipped: tuple[Skipped, ...]

    @cached_property
    def good(self) -> NDArray[np.int64]:
        """Rows of the good samples, in order."""
        flags = self.files.read("good", range(len(self.indices)))[:, 0]
        return np.flatnonzero(flags).astype(np.int64)

    def text_of(self, row: int) -> str:
        """The caption, or the name of the class."""
        index = self.indices[row]
        if isinstance(self.dataset, LabelledDataset):
            return self.dataset.class_names[self.dataset.read(index).label]
        return self.dataset.caption(index)


@dataclass(frozen=True, kw_only=True)
class PassOptions:
    """How the pass goes. `on_done(samples)` is called after every block."""

    max_skipped_share: float
    num_workers: int
    save_every_s: float
    stop: Callable[[], bool]
    on_done: Callable[[int], None]


def embed_set(
    dataset: Dataset, indices: Sequence[int], models: Models, files: RowFiles, options: PassOptions
) -> Passed:
    """Embed the samples `indices` of `dataset`, from where `files` ended.

    Raises DatasetRejected (too many are bad; `images_all_equal`), CheckpointRejected
    (`embeddings_not_finite`, `embeddings_constant`), Interrupted with everything saved.
    """
    noted = _Notes.read(files.notes)
    blocks = Blocks(
        dataset,
        indices,
        image_sizes=[model.checkpoint.architecture.image_size for model in models.by_name.values()],
        max_skipped_share=options.max_skipped_share,
        num_workers=options.num_workers,
        start=files.num_done,
        skipped=noted.skipped,
    )
    saved_s = time.monotonic()
    options.on_done(files.num_done)
    for block in blocks:
        files.write(block.start, _rows(block, dataset, models, files))
        noted = noted.after(block, blocks.skipped)
        done = block.start + block.size
        options.on_done(done)
        is_stopped = options.stop()
        if is_stopped or time.monotonic() - saved_s >= options.save_every_s:
            files.save(done, noted.as_json())
            saved_s = time.monotonic()
        if is_stopped and done < len(indices):
            raise Interrupted(
                "stopped", "Vetting was stopped; its state is saved.", "Run the same command again to resume."
            )
    if files.num_done < len(indices):
        files.save(len(indices), noted.as_json())
    passed = Passed(dataset=dataset, indices=indices, files=files, skipped=noted.skipped)
    _refuse_equal(passed, models, are_equal=noted.are_equal)
    return passed


def _rows(block: Block, dataset: Dataset, models: Models, files: RowFiles) -> dict[str, NDArray[np.float32]]:
    """Every field of the block's samples; rows of bad ones are zero."""
    rows = {field: np.zeros((block.size, width), dtype=np.float32) for field, width in files.widths.items()}
    if not block.place_N:
        return rows
    place_N = np.array(block.place_N) - block.start
    rows["good"][place_N] = 1
    for (name, model), image_NCHW in zip(models.by_name.items(), block.images, strict=True):
        pixels_NCHW = model.pixels(image_NCHW)
        image_ND = model.images(pixels_NCHW)
        rows[f"{name}_image"][place_N] = image_ND.float().cpu().numpy()
        if isinstance(dataset, LabelledDataset):
            text_ND = model.classes(dataset)[block.labels]
        else:
            text_ND = model.captions(block.texts)
        rows[f"{name}_text"][place_N] = text_ND.float().cpu().numpy()
        if name == "suspect" and "sensitivity" in rows:
            value_N = sensitivity(pixels_NCHW, image_ND, model.images)
            rows["sensitivity"][place_N, 0] = value_N.float().cpu().numpy()
    return rows


@dataclass(frozen=True, kw_only=True)
class _Notes:
    """What is known beside the rows, kept with the state."""

    skipped: tuple[Skipped, ...] = ()
    first_sha256: str | None = None
    are_equal: bool = True
    """Whether all images so far have the same pixels."""

    @staticmethod
    def read(notes: Mapping[str, Any]) -> _Notes:
        if not notes:
            return _Notes()
        skipped = tuple(Skipped(**one) for one in notes["skipped"])
        return _Notes(skipped=skipped, first_sha256=notes["first_sha256"], are_equal=notes["are_equal"])

    def as_json(self) -> dict[str, object]:
        return asdict(self)

    def after(self, block: Block, skipped: tuple[Skipped, ...]) -> _Notes:
        first = self.first_sha256 or next(iter(block.pixels_sha256), None)
        are_equal = self.are_equal and all(one == first for one in block.pixels_sha256)
        return _Notes(skipped=skipped, first_sha256=first, are_equal=are_equal)


def _refuse_equal(passed: Passed, models: Models, *, are_equal: bool) -> None:
    """Nothing can be told apart where all embeddings are the same."""
    good = passed.good
    if len(good) < 2:
        return  # refused as too few, with a better sentence
    if are_equal:
        raise DatasetRejected(
            "images_all_equal",
            f"All {len(good)} images are the same, as the model sees them.",
            "Give the images that belong to the captions.",
            where=passed.dataset.key(int(passed.indices[good[0]])),
        )
    for name in models.by_name:
        total = sum(
            passed.files.read(f"{name}_image", good[start : start + 4096]).sum(axis=0)
            for start in range(0, len(good), 4096)
        )
        if float(np.linalg.norm(np.asarray(total) / len(good))) > 1 - _SAME:
            raise embeddings_constant(name)
