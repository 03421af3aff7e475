"""Parts the labelled images of a ladder's order into a validation set and a test set. Measures nothing."""

from __future__ import annotations

from sanitizer.data.labelled import LabelledDataset
from sanitizer.seeding import generator


def parts(labelled: LabelledDataset, share: float, seed: int) -> tuple[LabelledDataset, LabelledDataset]:
    """The validation images and the test images, each in the set's order.

    The first round(share · N) of generator(seed, "validation_images").permutation(N) are validation images.
    """
    order = generator(seed, "validation_images").permutation(len(labelled)).tolist()
    num_validation = round(share * len(labelled))
    return labelled.only(sorted(order[:num_validation])), labelled.only(sorted(order[num_validation:]))
