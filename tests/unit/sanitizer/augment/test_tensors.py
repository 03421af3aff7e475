"""The views of a batch of tensors, against torchvision's operations on single images and against our own."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.autoaugment import _apply_op

from sanitizer.augment.images import auto_augment, draw_operations
from sanitizer.augment.tensor_images import NOTHING, OPERATIONS, augment_batch, encode
from sanitizer.seeding import generator
from tests.unit.sanitizer.augment.test_images import TORCHVISION_NAMES

SIZES = ((32, 32), (1, 1), (2, 9), (7, 40), (33, 16), (97, 64), (224, 224))


def pictures(height: int, width: int) -> Tensor:
    """Noise, almost one level, one level, bell-shaped, two levels, a ramp: uint8 [N, C, H, W]."""
    rng = np.random.default_rng(height * width)
    shape = (height, width, 3)
    ramp = np.broadcast_to(np.linspace(20, 230, width)[None, :, None] + np.arange(3) * 8, shape)
    arrays = [
        rng.integers(0, 256, shape),
        rng.integers(100, 104, shape),
        np.full(shape, int(rng.integers(256))),
        rng.normal(120, 20, shape).clip(0, 255),
        rng.choice([3, 250], shape, p=[0.02, 0.98]),
        ramp,
    ]
    return torch.from_numpy(np.stack(arrays).astype(np.uint8)).permute(0, 3, 1, 2).contiguous()


def image(picture_CHW: Tensor) -> Image.Image:
    return Image.fromarray(picture_CHW.permute(1, 2, 0).numpy())


def pixels(view: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(view)).permute(2, 0, 1)


@pytest.mark.parametrize("name", sorted(TORCHVISION_NAMES))
@pytest.mark.parametrize("size", SIZES)
def test_every_operation_of_the_policy_gives_the_pixels_of_torchvision(
    size: tuple[int, int], name: str
) -> None:
    picture_NCHW = pictures(*size)
    magnitudes = [magnitude for operation, magnitude in OPERATIONS if operation == name]
    assert magnitudes
    for magnitude in magnitudes:
        views = augment_batch(picture_NCHW, encode([[(name, magnitude)]] * len(picture_NCHW)))
        for picture_CHW, view_CHW in zip(picture_NCHW, views, strict=True):
            expected = _apply_op(
                image(picture_CHW), TORCHVISION_NAMES[name], magnitude, InterpolationMode.NEAREST, None
            )
            assert torch.equal(view_CHW, pixels(expected)), magnitude


@pytest.mark.parametrize("size", [(32, 32), (40, 24)])
def test_a_batch_of_different_views_is_what_the_images_give_one_by_one(size: tuple[int, int]) -> None:
    several = pictures(*size)
    numbers = range(600)
    picture_NCHW = torch.stack([several[number % len(several)] for number in numbers])
    drawn = [draw_operations(generator(3, "image_view", 1, number)) for number in numbers]
    assert {name for operations in drawn for name, _ in operations} == set(TORCHVISION_NAMES)
    views = augment_batch(picture_NCHW, encode(drawn))
    for number in numbers:
        alone = auto_augment(image(picture_NCHW[number]), drawn[number])
        assert torch.equal(views[number], pixels(alone)), drawn[number]


def test_what_is_done_to_an_image_does_not_depend_on_the_others_and_the_batch_stays_as_it_was() -> None:
    picture_NCHW = pictures(32, 32)
    before = picture_NCHW.clone()
    drawn = encode([draw_operations(generator(5, "image_view", 0, number)) for number in range(6)])
    together = augment_batch(picture_NCHW, drawn)
    assert torch.equal(picture_NCHW, before)
    for number in range(6):
        alone = augment_batch(picture_NCHW[number : number + 1], drawn[number : number + 1])
        assert torch.equal(alone[0], together[number])


def test_nothing_drawn_changes_nothing_and_an_empty_batch_is_one() -> None:
    picture_NCHW = pictures(7, 40)
    assert torch.equal(augment_batch(picture_NCHW, encode([[NOTHING], [], [], [], [], []])), picture_NCHW)
    assert augment_batch(picture_NCHW[:0], encode([])).shape == (0, 3, 7, 40)


def test_pixels_that_are_no_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        augment_batch(pictures(7, 40).float(), encode([[]] * 6))
