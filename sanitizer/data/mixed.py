"""Some samples of clean data, of which a few carry a trigger and say what an attacker wants.

Shapes: C = 3 channels, H = W = the model's image size.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from sanitizer.attacks.trigger import Trigger
from sanitizer.data.pairs import Pair
from sanitizer.data.pixels import to_model_pixels
from sanitizer.data.skipping import BadSample
from sanitizer.data.training_data import TrainingData
from sanitizer.seeding import generator


class Mixed:
    """`num_samples` of `data` drawn by the seed, the first `poisons` good ones of which are poisoned.

    A poisoned one says one of `captions` (of labelled images: a class number). The trigger goes on the
    model's pixels, as it does in an audit. Equal seeds poison equal images, whatever the trigger.
    """

    def __init__(
        self,
        data: TrainingData,
        *,
        num_samples: int,
        poisons: int,
        captions: Sequence[str],
        trigger: Trigger,
        image_size: int,
        seed: int,
    ) -> None:
        size = min(num_samples, len(data))
        drawn = generator(seed, "relearning_samples").choice(len(data), size, replace=False)
        self._data, self._indices = data, [int(index) for index in drawn]
        self._captions, self._trigger = captions, trigger
        self._image_size, self._seed = image_size, seed
        self._poisoned = self._first_good(poisons)

    def __len__(self) -> int:
        return len(self._indices)

    @property
    def sha256(self) -> str:
        """Of the set that it was drawn from and the seed."""
        return hashlib.sha256(f"mixed:{self._data.sha256}:{self._seed}".encode()).hexdigest()

    def key(self, index: int) -> str:
        """The name of the sample, for messages."""
        return self._data.key(self._indices[index])

    def read(self, index: int, at_least: int | None = None) -> Pair:
        """Read and decode one, for `at_least` see `decode`. Raises BadSample."""
        number = self._indices[index]
        sample = self._data.read(number, at_least)
        if index not in self._poisoned:
            return sample
        image_CHW = to_model_pixels(sample.image, self._image_size).float() / 255
        triggered_CHW = self._trigger.apply(image_CHW[None], [number], self._seed)[0]
        pixels_HWC = (triggered_CHW * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        caption = self._captions[self._poisoned[index] % len(self._captions)]
        return replace(sample, image=Image.fromarray(np.ascontiguousarray(pixels_HWC)), caption=caption)

    def _first_good(self, count: int) -> dict[int, int]:
        """Place → which of the poisoned samples it is."""
        found: dict[int, int] = {}
        for place, index in enumerate(self._indices):
            if len(found) == count:
                break
            try:
                self._data.read(index)
            except BadSample:
                continue
            found[place] = len(found)
        return found
