"""What a trigger is: a function of an image batch, image numbers and a seed.

Shapes: N images, C = 3 channels, H rows, W columns.

Everything that a trigger draws comes from `sanitizer.seeding.generator` on the CPU, image by image, so an
image gets the same trigger in whatever batch, order or device it comes. The streams, so that anyone can draw
the same numbers again:

    generator(seed, "badnet_place", index)     .integers(0, H - p + 1), then .integers(0, W - p + 1);
                                               "random_inner": .integers(0, max(1, H - p)), then with W
    generator(seed, "badnet_noise", index)     .standard_normal((3, p, p))
    generator(pattern_seed, "badnet_pattern")  .standard_normal((3, p, p))
    generator(seed, "blended_noise", index)    .random((3, H, W))
    generator(pattern_seed, "blended_pattern") .random((3, H, W))
    generator(pattern_seed, "wanet_grid")      .uniform(-1, 1, (2, k, k))
    generator(seed, "badnet_stripes", index)          .integers(0, 2, (3, p)): the columns' colours
    generator(pattern_seed, "badnet_stripes_pattern") .integers(0, 2, (3, p))
    generator(seed, "blended_stripes", index)          .integers(0, 2, (3, W)): 0 is -1, 1 is 1
    generator(pattern_seed, "blended_stripes_pattern") .integers(0, 2, (3, W))
    generator(seed, "overlay_place", index)    as "badnet_place", for words and customers' images
    generator(seed, "tensor_place", index)     as "badnet_place", for patterns given as tensors

SIG and triangles draw nothing. Arithmetic is float64 where the device has it, and is rounded to float32 once,
at the end, so that the CPU, a GPU and an independent reference give the same pixels. Images are decoded,
words drawn and both resized on the CPU.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor


class Trigger(Protocol):
    """What an attack puts on an image."""

    def apply(self, image_NCHW: Tensor, index_N: Sequence[int], seed: int) -> Tensor:
        """A new float32 tensor in [0, 1], each image with the trigger that belongs to its index and the seed.

        `image_NCHW` is floating point in [0, 1], RGB, at the size that the model sees (before normalisation).
        Raises ValueError if the shapes do not fit each other.
        """


def check_batch(image_NCHW: Tensor, index_N: Sequence[int]) -> None:
    """Raises ValueError unless it is a floating-point RGB batch with one index for each image."""
    if image_NCHW.ndim != 4 or image_NCHW.shape[1] != 3:
        raise ValueError(f"expected an RGB batch [N, 3, H, W], got {list(image_NCHW.shape)}")
    if not image_NCHW.is_floating_point():
        raise ValueError(f"expected floating-point pixels in [0, 1], got {image_NCHW.dtype}")
    if len(index_N) != image_NCHW.shape[0]:
        raise ValueError(f"{image_NCHW.shape[0]} images but {len(index_N)} indices")


def patch_side(share: float, height: int, width: int) -> int:
    """A share of the image's shorter side in pixels: at least one, rounded to the nearest."""
    return max(1, round(share * min(height, width)))


def widest_float(device: torch.device) -> torch.dtype:
    """The dtype in which triggers compute: float64, but float32 on Apple's MPS, which has no other."""
    return torch.float32 if device.type == "mps" else torch.float64
