"""Builds one batch of both views from (epoch, step), in any process.

Shapes: N samples of a batch, H = W = the model's image size, C = 3, L = the model's context length.
Decodes a pair once for both views, a large JPEG at a reduced scale; where all pixels fit into `CACHE_BYTES`,
once for all epochs.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sanitizer.augment.captions import augment_caption
from sanitizer.augment.images import auto_augment, draw_operations
from sanitizer.augment.perturbation import Perturbation
from sanitizer.augment.tensor_images import augment_batch, encode
from sanitizer.data.images import resize_and_crop
from sanitizer.data.skipping import BadSample, Skipped
from sanitizer.data.training_data import TrainingData
from sanitizer.seeding import generator

CACHE_BYTES = 256 * 2**20
"""For pixels, and again for tokens, over all processes. Larger data are decoded again in every epoch."""
JPEG_MARGIN = 1.5
"""A JPEG is decoded at the smallest scale that leaves its shorter side so many times the model's image;
its pixels are then within a level of the whole image's on average, at 1.07 times three levels off."""
MAX_PIXELS_AT_ONCE = 64 * 64
"""Views of images up to this size are made for a whole batch at once, of larger ones image by image: the
pixels are the same, and this is where the times cross on a CPU (docs/performance.md)."""
TRIES_WITHOUT_REPEATS = 64
MAX_TRIES = 1024

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True, kw_only=True)
class BuiltViews:
    """Images uint8 [N, C, H, W], tokens int64 [N, L]; `operations` int64 [N, 2] where the device makes the
    images' views (`augment_batch`)."""

    image: Tensor
    tokens: Tensor
    image_view: Tensor | None = None
    operations: Tensor | None = None
    tokens_view: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class BuiltBatch:
    """`views` is None where no good pair was found for some place of the batch."""

    views: BuiltViews | None
    skipped: tuple[Skipped, ...]


class PairAssembler:
    """A function (epoch, step) → batch, with caches that change nothing but the time it takes."""

    def __init__(
        self,
        dataset: TrainingData,
        *,
        tokenize: Callable[[Sequence[str]], Tensor],
        image_size: int,
        batch_size: int,
        seed: int,
        eda_alpha: float | None,
        rank: int,
        world_size: int,
        perturbation: Perturbation | None,
        num_processes: int,
        draws_views_only: bool,
    ) -> None:
        self._draws_views_only = draws_views_only
        self._dataset = dataset
        self._tokenize = tokenize
        self._image_size = image_size
        self._batch_size = batch_size
        self._seed = seed
        self._eda_alpha = eda_alpha
        self._rank = rank
        self._world_size = world_size
        self._perturbation = perturbation
        self._order_epoch = -1
        self._order = np.zeros(0, dtype=np.int64)
        self._bad: dict[int, BadSample] = {}
        self._samples = _SampleCache(len(dataset), image_size, CACHE_BYTES // num_processes)
        self._tokens = _TokenCache(len(dataset), tokenize, CACHE_BYTES // num_processes)

    def build(self, position: tuple[int, int]) -> BuiltBatch:
        """The batch at (epoch, step). Bad pairs raise nothing: they are in the result."""
        epoch, step = position
        size = self._batch_size * self._world_size  # of all ranks together
        joined = self._order_of(epoch)[step * size : (step + 1) * size].tolist()
        wanted, used = joined[self._rank :: self._world_size], set(joined)
        skipped: list[Skipped] = []
        chosen: list[tuple[int, Pixels, str]] = []
        for index in wanted:
            found = self._read_or_replace(index, epoch, used, skipped)
            if found is None:
                return BuiltBatch(views=None, skipped=tuple(skipped))
            chosen.append(found)
        return BuiltBatch(views=self._views(chosen, epoch), skipped=tuple(skipped))

    def _order_of(self, epoch: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        if self._order_epoch != epoch:
            self._order = generator(self._seed, "pair_order", epoch).permutation(len(self._dataset))
            self._order_epoch = epoch
        return self._order

    def _read_or_replace(
        self, index: int, epoch: int, used: set[int], skipped: list[Skipped]
    ) -> tuple[int, Pixels, str] | None:
        """Pair `index`, or, where it is bad, another one; at first one that is not in the batch already."""
        sample = self._read(index, skipped)
        if sample is not None:
            return index, *sample
        draws = generator(self._seed, "replacement", epoch, index)
        for attempt in range(MAX_TRIES):
            candidate = int(draws.integers(len(self._dataset)))
            if candidate in used and attempt < TRIES_WITHOUT_REPEATS:
                continue
            sample = self._read(candidate, skipped)
            if sample is not None:
                used.add(candidate)
                return candidate, *sample
        return None

    def _read(self, index: int, skipped: list[Skipped]) -> tuple[Pixels, str] | None:
        """Pixels [H, W, C] and caption of a good pair; None, and a note in `skipped`, for a bad one."""
        cached = self._samples.get(index)
        if cached is not None:
            return cached
        if index not in self._bad:
            try:
                pair = self._dataset.read(index, at_least=math.ceil(JPEG_MARGIN * self._image_size))
            except BadSample as bad:
                self._bad[index] = bad
            else:
                pixels = np.asarray(resize_and_crop(pair.image, self._image_size))
                self._samples.put(index, pixels, pair.caption)
                return pixels, pair.caption
        known = self._bad[index]
        key = self._dataset.key(index)
        skipped.append(Skipped.of(index, key, known))
        return None

    def _views(self, chosen: list[tuple[int, Pixels, str]], epoch: int) -> BuiltViews:
        indices = [index for index, _, _ in chosen]
        captions = [caption for _, _, caption in chosen]
        image = _stack([self._perturbed(pixels, epoch, index) for index, pixels, _ in chosen])
        tokens = self._tokens.of(indices, captions)
        if self._eda_alpha is None:
            return BuiltViews(image=image, tokens=tokens)
        drawn = [draw_operations(generator(self._seed, "image_view", epoch, index)) for index in indices]
        image_view, operations = None, None
        if self._draws_views_only:
            operations = encode(drawn)
        elif self._image_size**2 <= MAX_PIXELS_AT_ONCE:
            image_view = augment_batch(image, encode(drawn))
        else:
            image_view = _stack(
                [
                    np.asarray(auto_augment(Image.fromarray(pixels), its_own))
                    for (_, pixels, _), its_own in zip(chosen, drawn, strict=True)
                ]
            )
        changed = [
            augment_caption(caption, self._eda_alpha, generator(self._seed, "caption_view", epoch, index))
            for index, _, caption in chosen
        ]
        tokens_view = tokens.clone()
        places = [place for place, caption in enumerate(captions) if changed[place] != caption]
        if places:
            tokens_view[places] = self._tokenize([changed[place] for place in places])
        return BuiltViews(
            image=image, image_view=image_view, operations=operations, tokens=tokens, tokens_view=tokens_view
        )

    def _perturbed(self, pixels: Pixels, epoch: int, index: int) -> Pixels:
        if self._perturbation is None:
            return pixels
        return self._perturbation.apply(pixels, generator(self._seed, "perturbation", epoch, index))


def _stack(images: list[Pixels]) -> Tensor:
    """[H, W, C] arrays → uint8 [N, C, H, W]."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()


class _SampleCache:
    """Pixels and captions by index, if all pixels fit, else empty. Memory is used as it fills."""

    def __init__(self, num_samples: int, image_size: int, limit_bytes: int) -> None:
        fits = num_samples * image_size * image_size * 3 <= limit_bytes
        self._captions: list[str | None] = [None] * (num_samples if fits else 0)
        self._pixels = np.zeros((len(self._captions), image_size, image_size, 3), dtype=np.uint8)

    def get(self, index: int) -> tuple[Pixels, str] | None:
        caption = self._captions[index] if self._captions else None
        return None if caption is None else (self._pixels[index], caption)

    def put(self, index: int, pixels: Pixels, caption: str) -> None:
        if self._captions:
            self._pixels[index] = pixels
            self._captions[index] = caption


class _TokenCache:
    """Tokens of the original captions: tokenised once if they all fit, each time otherwise."""

    def __init__(
        self, num_samples: int, tokenize: Callable[[Sequence[str]], Tensor], limit_bytes: int
    ) -> None:
        self._num_samples = num_samples
        self._tokenize = tokenize
        self._limit_bytes = limit_bytes
        self._known = np.zeros(num_samples, dtype=np.bool_)
        self._tokens: np.ndarray[Any, np.dtype[np.int32]] | None = None

    def of(self, indices: list[int], captions: list[str]) -> Tensor:
        """int64 [N, L]."""
        missing = [place for place, index in enumerate(indices) if not self._known[index]]
        if len(missing) == len(indices):
            tokens = self._tokenize(captions)
            self._keep(indices, tokens)
            return tokens
        if missing:
            self._keep(
                [indices[place] for place in missing], self._tokenize([captions[place] for place in missing])
            )
        assert self._tokens is not None
        return torch.from_numpy(self._tokens[indices]).to(torch.int64)

    def _keep(self, indices: list[int], tokens_NL: Tensor) -> None:
        if self._tokens is None:
            if self._num_samples * tokens_NL.shape[1] * 4 > self._limit_bytes:
                return
            self._tokens = np.zeros((self._num_samples, tokens_NL.shape[1]), dtype=np.int32)
        self._tokens[indices] = tokens_NL.to(torch.int32).numpy()
        self._known[indices] = True
