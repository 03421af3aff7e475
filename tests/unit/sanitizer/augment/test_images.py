"""AutoAugment views against torchvision's own, operation by operation and draw by draw."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.autoaugment import AutoAugment, AutoAugmentPolicy, _apply_op

from sanitizer.augment.images import IMAGENET_POLICY, apply_operation, auto_augment, draw_operations
from sanitizer.seeding import generator

TORCHVISION_NAMES = {
    "posterize": "Posterize",
    "solarize": "Solarize",
    "invert": "Invert",
    "auto_contrast": "AutoContrast",
    "equalize": "Equalize",
    "rotate": "Rotate",
    "shear_x": "ShearX",
    "color": "Color",
    "contrast": "Contrast",
    "sharpness": "Sharpness",
}
SIGNED = {"rotate", "shear_x", "color", "contrast", "sharpness"}


def pictures() -> list[Image.Image]:
    """Noise, almost one level, one level, bell-shaped, two levels; odd and tiny sizes."""
    rng = np.random.default_rng(5)
    arrays = []
    for height, width in ((32, 32), (1, 1), (7, 40), (33, 16)):
        shape = (height, width, 3)
        arrays += [
            rng.integers(0, 256, shape),
            rng.integers(100, 104, shape),
            np.full(shape, int(rng.integers(256))),
            rng.normal(120, 20, shape).clip(0, 255),
            rng.choice([3, 250], shape, p=[0.02, 0.98]),
        ]
    return [Image.fromarray(array.astype(np.uint8)) for array in arrays]


def magnitudes(name: str) -> list[float]:
    values = AutoAugment()._augmentation_space(10, (32, 32))[TORCHVISION_NAMES[name]][0]
    levels = [float(value) for value in values.reshape(-1)]
    return levels + [-level for level in levels] if name in SIGNED else levels


@pytest.mark.parametrize("name", sorted(TORCHVISION_NAMES))
def test_every_operation_gives_the_pixels_of_torchvision(name: str) -> None:
    for image in pictures():
        for magnitude in magnitudes(name):
            expected = _apply_op(image, TORCHVISION_NAMES[name], magnitude, InterpolationMode.NEAREST, None)
            ours = apply_operation(image, name, magnitude)
            assert np.array_equal(np.asarray(ours), np.asarray(expected)), (image.size, magnitude)


def test_the_policy_is_torchvisions_imagenet_policy() -> None:
    theirs = AutoAugment()._get_policies(AutoAugmentPolicy.IMAGENET)
    ours = [
        tuple((TORCHVISION_NAMES[name], probability, level) for name, probability, level in sub_policy)
        for sub_policy in IMAGENET_POLICY
    ]
    assert ours == theirs


def test_with_the_same_draws_the_view_is_torchvisions_view() -> None:
    theirs: Any = AutoAugment()
    images = pictures()
    for index in range(600):
        image = images[index % len(images)]
        draws = generator(3, "image_view", 0, index).random(5)
        given = (math.floor(draws[0] * 25), draws[1:3], draws[3:5] >= 0.5)
        theirs.get_params = lambda num_policies, given=given: given  # what torchvision is to draw
        ours = auto_augment(image, draw_operations(generator(3, "image_view", 0, index)))
        assert np.array_equal(np.asarray(ours), np.asarray(theirs(image))), index


def test_views_are_as_often_unchanged_and_as_varied_as_torchvisions() -> None:
    image = pictures()[3]
    torch.manual_seed(0)
    theirs = AutoAugment()
    num_views = 4000
    from_torchvision = [np.asarray(theirs(image)).tobytes() for _ in range(num_views)]
    ours = [
        np.asarray(auto_augment(image, draw_operations(generator(0, "image_view", 0, index)))).tobytes()
        for index in range(num_views)
    ]
    # Every distinct picture's frequency, within five standard deviations of a difference of two binomials.
    for picture in set(from_torchvision) | set(ours):
        first, second = ours.count(picture) / num_views, from_torchvision.count(picture) / num_views
        pooled = (first + second) / 2
        assert abs(first - second) <= 5 * math.sqrt(2 * pooled * (1 - pooled) / num_views)


def test_a_view_depends_on_its_generator_alone_and_leaves_the_image_as_it_was() -> None:
    image = pictures()[0]
    before = image.tobytes()

    def view(index: int) -> bytes:
        return auto_augment(image, draw_operations(generator(1, "image_view", 2, index))).tobytes()

    first = [view(index) for index in range(50)]
    torch.manual_seed(9)
    np.random.seed(9)
    again = [view(index) for index in range(50)]
    assert first == again
    assert len(set(first)) > 10
    assert image.tobytes() == before


def test_an_unknown_operation_is_refused() -> None:
    with pytest.raises(ValueError, match="no operation"):
        apply_operation(pictures()[0], "cutout", 1.0)
