"""The towers as training uses them: modes, BatchNorm, frozen copies. Knows no loss and no batch.

The text tower's pass is in `sanitizer.checkpoints.text_tower`. Legend: N images, D embedding width.
"""

from __future__ import annotations

import copy

from open_clip.model import CLIP
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm


def prepare(model: CLIP, *, freeze_batch_norm_statistics: bool) -> None:
    """Put `model` into training mode. If its statistics are frozen, BatchNorm keeps using the running ones,
    unchanged; its weight and bias are trained all the same (docs/decisions/0012)."""
    model.train()
    if freeze_batch_norm_statistics:
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.eval()


def frozen_copy(model: CLIP) -> CLIP:
    """Of the model as it stands: to be taken before any update and before a state is taken up."""
    frozen = copy.deepcopy(model).eval()
    frozen.requires_grad_(False)
    return frozen


def has_batch_norm(model: CLIP) -> bool:
    """True for the ResNet family."""
    return any(isinstance(module, _BatchNorm) for module in model.modules())


def encode_image(model: CLIP, image_NCHW: Tensor) -> Tensor:
    """Image features [N, D], not normalised."""
    features: Tensor = model.encode_image(image_NCHW)
    return features
