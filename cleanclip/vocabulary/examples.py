"""Examples of triggered images in a report, and how a page reads them. Free of torch and of Pillow.

    for pair in report.examples.of_attack(0):
        pair.true_class, pair.clean.image, pair.triggered.image, pair.triggered.before.class_name

Images are data URIs that hold pixels and nothing else (`plain_images`: whatever else a file has there is
refused when it is read). Class names are untrusted: code that shows them escapes them.
"""

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

from cleanclip.vocabulary.bounds import Share
from cleanclip.vocabulary.plain_images import MAX_BYTES, MAX_CHARACTERS, Plain, check_image, read_image

MAX_EXAMPLES = 12
"""The most test images that an audit may show."""
MAX_IMAGES = 64
"""Of one report, those without a trigger included: of 24 KiB each, 1.5 MiB together, 2 MiB in base64."""
MAX_TOTAL_BYTES = MAX_IMAGES * MAX_BYTES

PlainImage = Annotated[
    str,
    StringConstraints(min_length=4, max_length=MAX_CHARACTERS, pattern=r"^[A-Za-z0-9+/]+={0,2}$"),
    AfterValidator(check_image),
]
"""The bytes of a small square PNG or JPEG file without metadata, in base64."""


def num_examples(ordered: int, num_attacks: int) -> int:
    """How many test images are shown: as ordered, fewer where `MAX_IMAGES` would not hold them with each
    trigger."""
    return min(ordered, MAX_IMAGES // (1 + num_attacks))


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The class that one model gives an image, and its share of the softmax over all classes at the model's
    own logit scale."""

    class_name: str
    probability: Share


@dataclass(frozen=True, kw_only=True)
class ShownImage:
    """An image as the model sees it, before normalisation, and the model's answers."""

    image: PlainImage
    before: Prediction
    after: Prediction | None = None
    """By the cleaned model, of the same pixels. None where nothing was cleaned."""

    @property
    def plain(self) -> Plain:
        return read_image(self.image)


@dataclass(frozen=True, kw_only=True)
class Example:
    """One test image: without a trigger, and with that of each attack, in the order of the audit."""

    index: int
    """In the labelled set, from 0: decides the trigger, together with the seed."""
    true_class: str
    clean: ShownImage
    triggered: tuple[ShownImage, ...]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One test image without and with one trigger."""

    index: int
    true_class: str
    clean: ShownImage
    triggered: ShownImage


@dataclass(frozen=True, kw_only=True)
class Examples:
    """The same images for every attack, before and after. Figures are never taken from them.

    Chosen at random by the seed before any prediction was made: from different classes if there are enough,
    never from a target class.
    """

    seed: int
    image_size: int
    """Side in pixels of what the model sees."""
    side: int
    """That of the images here: the same, or `plain_images.MAX_SIDE` where that is smaller."""
    examples: tuple[Example, ...]
    """In the order of the draw. Empty where every image drawn is of a target class."""

    def of_attack(self, number: int) -> tuple[Pair, ...]:
        """The grid of one attack, `number` its place in the audit from 0. Raises IndexError."""
        return tuple(
            Pair(index=one.index, true_class=one.true_class, clean=one.clean, triggered=one.triggered[number])
            for one in self.examples
        )
