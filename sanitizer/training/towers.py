"""The towers as training uses them: modes, BatchNorm, frozen copies.

The text tower's pass is in `sanitizer.checkpoints.text_tower`.

Legend: N images, C H W an image, D embedding width.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeGuard

import torch
from open_clip.model import CLIP
from torch import Tensor, nn
from torch.nn.functional import linear
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


def frozen_image_tower(model: CLIP) -> CLIP:
    """As `frozen_copy`, for images only: everything but `model.visual` is shared with `model`, not copied."""
    shared = {
        id(tensor): tensor
        for name, tensor in (*model.named_parameters(), *model.named_buffers())
        if not name.startswith("visual.")
    }
    frozen = copy.deepcopy(model, shared).eval()
    frozen.visual.requires_grad_(False)
    return frozen


def frozen_towers(model: CLIP) -> CLIP:
    """As `frozen_image_tower`, with the text tower copied too. That one stays in training mode: in eval mode
    attention takes another kernel, which rounds otherwise."""
    frozen = frozen_copy(model).train()
    frozen.visual.eval()
    return frozen


def keep_change(model: CLIP, before: CLIP, share: float) -> None:
    """The image tower becomes before + share · (now − before), BatchNorm's statistics too; 1 changes no bit.

    WiSE-FT (Wortsman et al., arXiv 2109.01903). `before` has the same shapes and devices.
    """
    if share == 1:
        return
    old = before.visual.state_dict()
    with torch.no_grad():
        for name, tensor in model.visual.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(old[name].lerp(tensor, share))


def has_batch_norm(model: CLIP) -> bool:
    """True for the ResNet family."""
    return any(isinstance(module, _BatchNorm) for module in model.modules())


def encode_image(model: CLIP, image_NCHW: Tensor) -> Tensor:
    """Image features [N, D], not normalised."""
    with patches_by_matrix_product(model.visual):
        features: Tensor = model.encode_image(image_NCHW)
    return features


@contextmanager
def patches_by_matrix_product(visual: nn.Module) -> Iterator[None]:
    """On a CPU a ViT's first layer as the matrix product that it is, not as a convolution.

    In bfloat16 the gradient of that convolution's weights took 522 ms where the product takes 14 (ViT-B/32,
    32 images, two cores with AMX): an eighth of a step. The same sums, in another order.
    """
    first = getattr(visual, "conv1", None)
    if not _cuts_patches(first) or first.weight.device.type != "cpu":
        yield
        return

    def product(image_NCHW: Tensor) -> Tensor:
        num_images, channels, height, width = image_NCHW.shape
        side = first.kernel_size[0]
        rows, columns = height // side, width // side
        # A convolution leaves out what fills no patch.
        covered_NCHW = image_NCHW[:, :, : rows * side, : columns * side]
        cut = covered_NCHW.reshape(num_images, channels, rows, side, columns, side)
        patches = cut.permute(0, 2, 4, 1, 3, 5).reshape(num_images * rows * columns, channels * side**2)
        features = linear(patches, first.weight.flatten(1), first.bias)
        return features.reshape(num_images, rows, columns, -1).permute(0, 3, 1, 2)

    vars(first)["forward"] = product
    try:
        yield
    finally:
        del vars(first)["forward"]


def _cuts_patches(layer: object) -> TypeGuard[nn.Conv2d]:
    """Whether it looks at each pixel once: square patches beside each other, all channels together."""
    return (
        isinstance(layer, nn.Conv2d)
        and layer.kernel_size[0] == layer.kernel_size[1]
        and layer.stride == layer.kernel_size
        and layer.padding == (0, 0)
        and layer.dilation == (1, 1)
        and layer.groups == 1
    )
