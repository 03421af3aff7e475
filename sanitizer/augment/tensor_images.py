"""AutoAugment's ImageNet policy on a whole batch of tensors, on the device where it lies. Draws nothing.

Shapes: N images, R of them, C = 3 channels, H rows, W columns, P = H * W pixels.

Gives the pixels of `sanitizer.augment.images`, bit for bit, on every device with float64. Levels are looked
up in integer tables; rotation and shear take the pixels that Pillow takes, which is asked once for each
angle; stretching is float64 and blending float32 in Pillow's order, where each operation is rounded by
itself, as IEEE 754 wants it (a compiler that fuses Pillow's own multiply and add, as on ARM, may change a
level by one).

What is done to an image is a row of two numbers into `OPERATIONS`, so that it can be drawn in one process and
done in another.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sanitizer.augment import images

NOTHING: images.Operation = ("nothing", 0.0)
OPERATIONS: tuple[images.Operation, ...] = (
    NOTHING,
    *sorted(
        {
            (name, magnitude)
            for sub_policy in images.IMAGENET_POLICY
            for name, _, level in sub_policy
            for magnitude in images.magnitudes(name, level)
        }
    ),
)
"""Every operation that the policy can draw, with its magnitude."""
_NUMBER = {operation: number for number, operation in enumerate(OPERATIONS)}


def _numbers(*names: str) -> Tensor:
    """bool by number: whether an operation is one of these."""
    return torch.tensor([name in names for name, _ in OPERATIONS])


def encode(drawn: Sequence[Sequence[images.Operation]]) -> Tensor:
    """int64 [N, 2], from up to two operations an image."""
    rows = [[_NUMBER[operation] for operation in operations] for operations in drawn]
    return torch.tensor([[*row, 0, 0][:2] for row in rows], dtype=torch.int64).reshape(-1, 2)


def augment_batch(image_NCHW: Tensor, operation_N2: Tensor) -> Tensor:
    """A new uint8 batch; `operation_N2` (on the CPU, from `encode`) says what is done to each image.

    Two operations in a row that are tables become one table, of which the pixels are looked up once.
    """
    if image_NCHW.dtype != torch.uint8:
        raise ValueError(f"expected uint8 pixels, got {image_NCHW.dtype}")
    view_NCHW = image_NCHW.clone(memory_format=torch.contiguous_format)
    first_N, second_N = operation_N2.T
    _change_pixels(view_NCHW, first_N)
    _change_levels(view_NCHW, operation_N2)
    _change_pixels(view_NCHW, second_N)
    return view_NCHW


def _change_pixels(view_NCHW: Tensor, number_N: Tensor) -> None:
    """In place, what an operation of each image does that looks at more than a level."""
    for name, change in _PIXEL_OPERATIONS.items():
        rows = _IS[name][number_N].nonzero()[:, 0]
        if len(rows):
            on_device = rows.to(view_NCHW.device, non_blocking=True)
            changed_RCHW = change(view_NCHW.index_select(0, on_device), number_N[rows])
            view_NCHW.index_copy_(0, on_device, changed_RCHW)


def _change_levels(view_NCHW: Tensor, operation_N2: Tensor) -> None:
    """In place: levels of a channel replaced by others, as those of both operations say that are tables."""
    rows = _IS_TABLE[operation_N2].any(dim=1).nonzero()[:, 0]
    if not len(rows):
        return
    on_device, number_R2 = rows.to(view_NCHW.device, non_blocking=True), operation_N2[rows]
    image_RCHW = view_NCHW.index_select(0, on_device)
    level_RCP = image_RCHW.flatten(2).to(torch.int64)
    histogram_RC256 = level_RCP.new_zeros((*level_RCP.shape[:2], 256), dtype=torch.int32)
    histogram_RC256.scatter_add_(2, level_RCP, histogram_RC256.new_ones(()).expand_as(level_RCP))
    table_RC256 = _tables(histogram_RC256, number_R2[:, 0])
    again = _IS_TABLE[number_R2[:, 1]].nonzero()[:, 0]
    if len(again):
        there = again.to(view_NCHW.device, non_blocking=True)
        before = table_RC256[there]
        changed = torch.zeros_like(histogram_RC256[there]).scatter_add_(2, before, histogram_RC256[there])
        table_RC256[there] = _tables(changed, number_R2[again, 1]).gather(2, before)
    changed_RCHW = table_RC256.to(torch.uint8).gather(2, level_RCP).view_as(image_RCHW)
    view_NCHW.index_copy_(0, on_device, changed_RCHW)


def _tables(histogram_RC256: Tensor, number_R: Tensor) -> Tensor:
    """int64 [R, C, 256]: an operation's table for each image and channel; levels themselves if it is none."""
    device = histogram_RC256.device
    table_RC256 = (
        _fixed_tables()[number_R, None].to(device, non_blocking=True).repeat(1, histogram_RC256.shape[1], 1)
    )
    for name, make in (("auto_contrast", _auto_contrast), ("equalize", _equalize)):
        rows = _IS[name][number_R].nonzero()[:, 0].to(device, non_blocking=True)
        if len(rows):
            table_RC256[rows] = make(histogram_RC256[rows]).to(torch.int64)
    return table_RC256


@lru_cache(maxsize=1)
def _fixed_tables() -> Tensor:
    """int64 [operations, 256]; the levels themselves for operations that are no fixed table."""
    tables = torch.arange(256).repeat(len(OPERATIONS), 1)
    for number, (name, magnitude) in enumerate(OPERATIONS):
        if name == "posterize":
            tables[number] = torch.tensor(list(images.posterize_table(int(magnitude))))
        elif name == "solarize":
            tables[number] = torch.tensor(list(images.solarize_table(magnitude)))
        elif name == "invert":
            tables[number] = tables[number].flip(0)
    return tables


def _auto_contrast(histogram_RC256: Tensor) -> Tensor:
    is_used_RC256 = (histogram_RC256 > 0).to(torch.uint8)
    level_256 = torch.arange(256, device=histogram_RC256.device)
    low_RC1 = is_used_RC256.argmax(dim=2, keepdim=True)
    high_RC1 = 255 - is_used_RC256.flip(2).argmax(dim=2, keepdim=True)
    # Not 255.0 / x, which torch computes as 255.0 * (1 / x).
    width_RC1 = (high_RC1 - low_RC1).clamp(min=1).double()
    scale_RC1 = torch.full_like(width_RC1, 255.0) / width_RC1
    stretched_RC256 = (level_256 * scale_RC1 + -low_RC1 * scale_RC1).to(torch.int64).clamp(0, 255)
    return torch.where(high_RC1 > low_RC1, stretched_RC256, level_256)


def _equalize(histogram_RC256: Tensor) -> Tensor:
    total_RC256 = histogram_RC256.cumsum(dim=2, dtype=torch.int32)
    # Up to the lightest level the running total is short of all pixels: what is not of that level.
    is_short_RC256 = total_RC256 < total_RC256[..., -1:]
    step_RC1 = (total_RC256 * is_short_RC256).amax(dim=2, keepdim=True) // 255
    spread_RC256 = (step_RC1 // 2 + total_RC256 - histogram_RC256) // step_RC1.clamp(min=1)
    level_256 = torch.arange(256, dtype=torch.int32, device=histogram_RC256.device)
    return torch.where(step_RC1 > 0, spread_RC256.clamp(max=255), level_256)


def _move(image_RCHW: Tensor, number_R: Tensor) -> Tensor:
    """Rotation and shear: every pixel is that of another place, or black."""
    height, width = image_RCHW.shape[2:]
    source_RP = torch.stack([_source(number, height, width) for number in number_R.tolist()])
    source_R1P = source_RP[:, None].to(image_RCHW.device, non_blocking=True)
    # One black pixel behind the last one: what lies outside is taken from there.
    padded = torch.nn.functional.pad(image_RCHW.flatten(2), (0, 1))
    return padded.gather(2, source_R1P.expand(-1, image_RCHW.shape[1], -1)).view_as(image_RCHW)


@lru_cache(maxsize=64)
def _source(number: int, height: int, width: int) -> Tensor:
    """int64 [P]: which pixel Pillow puts at each place, P for black. Asked with an image of numbers."""
    numbered = Image.fromarray(np.arange(1, height * width + 1, dtype=np.int32).reshape(height, width))
    source = np.asarray(images.apply_operation(numbered, *OPERATIONS[number])).astype(np.int64).reshape(-1)
    return torch.from_numpy(np.where(source > 0, source - 1, height * width))


def _color(image_RCHW: Tensor, number_R: Tensor) -> Tensor:
    return _blend(_grey(image_RCHW), image_RCHW, number_R)


def _contrast(image_RCHW: Tensor, number_R: Tensor) -> Tensor:
    grey_R1HW = _grey(image_RCHW)
    num_pixels = grey_R1HW.shape[2] * grey_R1HW.shape[3]
    total_R111 = grey_R1HW.to(torch.int64).sum(dim=(2, 3), keepdim=True)
    return _blend((total_R111.double() / num_pixels + 0.5).to(torch.int64), image_RCHW, number_R)


def _sharpness(image_RCHW: Tensor, number_R: Tensor) -> Tensor:
    """Against the mean over 3×3 pixels in which the middle one counts five times; the edge is left alone."""
    smooth_RCHW = image_RCHW.to(torch.int32)
    height, width = image_RCHW.shape[2:]
    if height > 2 and width > 2:
        rows_sum = smooth_RCHW[..., :-2, :] + smooth_RCHW[..., 1:-1, :] + smooth_RCHW[..., 2:, :]
        all_sum = rows_sum[..., :-2] + rows_sum[..., 1:-1] + rows_sum[..., 2:]
        weighed = all_sum + 4 * smooth_RCHW[..., 1:-1, 1:-1]
        smooth_RCHW[..., 1:-1, 1:-1] = (2 * weighed + 13) // 26  # a thirteenth, to the nearest
    return _blend(smooth_RCHW, image_RCHW, number_R)


def _grey(image_RCHW: Tensor) -> Tensor:
    """int32 [R, 1, H, W]: Pillow's luma in its 16-bit fixed point."""
    wide = image_RCHW.to(torch.int32)
    return (wide[:, :1] * 19595 + wide[:, 1:2] * 38470 + wide[:, 2:] * 7471 + 0x8000) >> 16


def _blend(plain: Tensor, image_RCHW: Tensor, number_R: Tensor) -> Tensor:
    """plain + factor * (image - plain) in float32, cut to levels and towards zero, as `Image.blend`."""
    factor_R = torch.tensor([1.0 + OPERATIONS[number][1] for number in number_R.tolist()])
    factor_R111 = factor_R.view(-1, 1, 1, 1).to(image_RCHW.device, non_blocking=True)
    difference = (image_RCHW.to(torch.int32) - plain).float()
    return (plain.float() + difference * factor_R111).clamp(0, 255).to(torch.uint8)


_PIXEL_OPERATIONS = {
    "rotate": _move,
    "shear_x": _move,
    "color": _color,
    "contrast": _contrast,
    "sharpness": _sharpness,
}
_TABLE_OPERATIONS = ("posterize", "solarize", "invert", "auto_contrast", "equalize")
_IS = {name: _numbers(name) for name in (*_PIXEL_OPERATIONS, *_TABLE_OPERATIONS)}
_IS_TABLE = _numbers(*_TABLE_OPERATIONS)
