"""A trigger given as a tensor: any values, not only those that an image file can hold.

For someone who runs the library and has the attacker's pattern itself, or one that was inverted from a model.
Orders over the API take images only; an image file rounds a pattern and clips it.

Shapes: N images, C = 3 channels, H rows, W columns, P rows and Q columns of the pattern.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cleanclip.vocabulary.attack_options import Placement
from sanitizer.attacks.placing import corners
from sanitizer.attacks.trigger import check_batch, widest_float


@dataclass(frozen=True, kw_only=True, eq=False)
class TensorPattern:
    """A `Trigger`: x' = clip((1 - alpha) x + alpha pattern, 0, 1); with `alpha` None clip(x + pattern, 0, 1).

    `pattern_CPQ` is finite and floating point, in units of pixels of [0, 1]; its values may lie outside. A
    pattern smaller than the image is put at `placement`. Raises ValueError when made of anything else.
    """

    pattern_CPQ: Tensor
    alpha: float | None = None
    placement: Placement = "random"

    def __post_init__(self) -> None:
        pattern = self.pattern_CPQ
        if pattern.ndim != 3 or pattern.shape[0] != 3 or 0 in pattern.shape:
            raise ValueError(f"expected a pattern [3, P, Q], got {list(pattern.shape)}")
        if not pattern.is_floating_point() or not bool(torch.isfinite(pattern).all()):
            raise ValueError("expected a pattern of finite floating-point values")
        if self.alpha is not None and not 0 < self.alpha <= 1:
            raise ValueError(f"expected alpha over 0 and at most 1, or None; got {self.alpha}")

    def apply(self, image_NCHW: Tensor, index_N: Sequence[int], seed: int) -> Tensor:
        """See `Trigger.apply`. Raises ValueError where the pattern is larger than the images."""
        check_batch(image_NCHW, index_N)
        (height, width), (rows, columns) = image_NCHW.shape[-2:], self.pattern_CPQ.shape[-2:]
        if rows > height or columns > width:
            raise ValueError(
                f"a pattern of {rows} × {columns} does not fit images of {height} × {width} pixels"
            )
        device, dtype = image_NCHW.device, widest_float(image_NCHW.device)
        pattern_CPQ = self.pattern_CPQ.to(device, dtype, non_blocking=True)
        triggered_NCHW = image_NCHW.to(dtype, copy=True)
        room = (height - rows, width - columns)
        places = corners(self.placement, room, index_N, seed=seed, stream="tensor_place")[0].tolist()
        for image_CHW, (top, left) in zip(triggered_NCHW, places, strict=True):
            below_CPQ = image_CHW[:, top : top + rows, left : left + columns]
            if self.alpha is None:
                below_CPQ += pattern_CPQ
            else:
                below_CPQ.mul_(1 - self.alpha).add_(pattern_CPQ * self.alpha)
        return triggered_NCHW.clamp(0, 1).float()
