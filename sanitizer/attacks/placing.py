"""Where a patch goes on each image, and putting it there.

Shapes: N images, C = 3 channels, H rows, W columns, P rows and Q columns of the patch.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from sanitizer.seeding import generator


def corners(
    placement: str, room: tuple[int, int], index_N: Sequence[int], *, seed: int, stream: str
) -> list[Tensor]:
    """The patch's top-left corners: one [N, 2] tensor of (row, column) for every copy of the patch.

    `room` is (H - P, W - Q): how far down and how far right the corner can be. "random" draws from
    `generator(seed, stream, index)`, every place alike; "random_inner" draws as research code does
    (`random.randint(0, H - P - 1)`), which never takes the last row or column. Other placements draw nothing.
    """
    bottom, right = room
    fixed = {
        "top_left": [(0, 0)],
        "top_right": [(0, right)],
        "bottom_left": [(bottom, 0)],
        "bottom_right": [(bottom, right)],
        "centre": [(bottom // 2, right // 2)],
        "four_corners": [(0, 0), (0, right), (bottom, 0), (bottom, right)],
    }
    if placement in fixed:
        return [same_corner(corner, len(index_N)) for corner in fixed[placement]]
    num_rows, num_columns = bottom + 1, right + 1
    if placement == "random_inner":
        num_rows, num_columns = max(1, bottom), max(1, right)  # a patch as large as the image has one place
    drawn = []
    for index in index_N:
        random = generator(seed, stream, index)
        drawn.append((int(random.integers(0, num_rows)), int(random.integers(0, num_columns))))
    return [torch.tensor(drawn)]


def same_corner(corner: tuple[int, int], num_images: int) -> Tensor:
    """One corner for all images: [N, 2]."""
    return torch.tensor([corner] * num_images)


def paste(image_NCHW: Tensor, patch_NCPQ: Tensor, corner_N2: Tensor, kept_PQ: Tensor | None = None) -> None:
    """Write every image's patch at its corner, in place and all at once.

    `kept_PQ` is what is kept of the image below (x * kept + patch); None: nothing.
    """
    num_images, num_channels, height, width = patch_NCPQ.shape
    if num_images == 0:
        return
    device = image_NCHW.device
    corner_N2 = corner_N2.to(device, non_blocking=True)
    image_N111 = torch.arange(num_images, device=device)[:, None, None, None]
    channel_C11 = torch.arange(num_channels, device=device)[:, None, None]
    row_N1P1 = (corner_N2[:, :1] + torch.arange(height, device=device))[:, None, :, None]
    column_N11Q = (corner_N2[:, 1:] + torch.arange(width, device=device))[:, None, None, :]
    if kept_PQ is not None:
        below_NCPQ = image_NCHW[image_N111, channel_C11, row_N1P1, column_N11Q]
        patch_NCPQ = below_NCPQ * kept_PQ + patch_NCPQ
    image_NCHW[image_N111, channel_C11, row_N1P1, column_N11Q] = patch_NCPQ
