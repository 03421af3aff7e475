"""What can be found in a set of pairs: its images and captions, each once, and which belong together.

Shapes: N pairs of a batch, L tokens.

Images with the same pixels, as the model sees them, are one image, captions with the same tokens are one
caption: no CLIP can tell them apart. An image belongs to every caption that a pair of the set gives it.
"""

import hashlib

import torch
from torch import Tensor

from cleanclip.vocabulary.errors import DatasetRejected
from sanitizer.data.captioned import CaptionedBatch
from sanitizer.data.texts import names_target


class Gallery:
    """The images and the captions of the set, each once, and which belong together."""

    def __init__(self) -> None:
        self.num_pairs = 0
        self.first_index_I: list[int] = []
        self.captions_of_image: list[set[int]] = []
        self.images_of_caption: list[set[int]] = []
        self.tokens_of_caption: list[Tensor] = []
        self._texts_of_caption: list[set[str]] = []
        self._images: dict[bytes, int] = {}
        self._captions: dict[bytes, int] = {}

    def add(self, batch: CaptionedBatch, token_NL: Tensor) -> list[int]:
        """The places in the batch of images that were not there yet."""
        new = []
        for place, index in enumerate(batch.index_N):
            image = self._images.setdefault(_identity(batch.image_NCHW[place]), len(self._images))
            caption = self._captions.setdefault(_identity(token_NL[place]), len(self._captions))
            if image == len(self.first_index_I):
                new.append(place)
                self.first_index_I.append(index)
                self.captions_of_image.append(set())
            if caption == len(self.tokens_of_caption):
                self.tokens_of_caption.append(token_NL[place])
                self.images_of_caption.append(set())
                self._texts_of_caption.append(set())
            self.captions_of_image[image].add(caption)
            self.images_of_caption[caption].add(image)
            self._texts_of_caption[caption].add(batch.captions[place])
            self.num_pairs += 1
        return new

    def naming(self, target: str) -> Tensor:
        """[T]: whether each caption names the target, in one of its spellings."""
        return torch.tensor(
            [any(names_target(text, target) for text in texts) for texts in self._texts_of_caption]
        )

    def check(self) -> None:
        """Raises DatasetRejected where one side leaves nothing to choose from."""
        if len(self.captions_of_image) < 2 or len(self.images_of_caption) < 2:
            raise too_few_for_retrieval()


def too_few_for_retrieval() -> DatasetRejected:
    """Refuses pairs of which one side leaves nothing to choose from."""
    return DatasetRejected(
        "too_few_for_retrieval",
        "The retrieval set has only one image or only one caption, so retrieval cannot be measured.",
        "Give pairs with different images and captions; recall is meaningful from a few hundred pairs on.",
    )


def _identity(values: Tensor) -> bytes:
    return hashlib.sha256(values.numpy().tobytes()).digest()
