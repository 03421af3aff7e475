"""The edits of the bank (`cleanclip.vocabulary.image_edits`) as maps of pixels.

    dose d:   x ⊕ d·e  =  (1 − d) x + d e(x)                              d = 1: the edit as it is

    tint      (1 − s) x + s c                                             c the colour
    paper     x · ((1 − s) + s c)                                         white becomes c, black stays
    frame     c on a border of s of the side
    word      the word in c, opacity s: large in the middle, or small in the lower right corner where s = 1
    filter    saturate, faded   m + s (x − m), m the mean of a pixel's channels; faded moves it towards c, too
              contrast ½ + s (x − ½)     brightness s x     gamma x^s     invert 1 − x
              blur     a Gaussian of s 1/32ths of the side                sharpen  x + s (x − blurred)
              posterise to s levels      pixelate to blocks of s 1/32ths of the side
              sepia    by s              hue      turned by s of a circle (YIQ)          shift  x + s (c − ½)
    wave      x + s sin(2π f j / W), j along one axis; along x it is SIG (Barni et al., arXiv 1902.11237)

Tints, frames, words and waves along x are attacks of an audit as they stand, and are made by the attack's own
code; for the others there is no attack. The table is the same for every model, so that two models' figures
can be compared.

Legend: N images, 3 channels, H = W.
"""

import math
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from cleanclip.vocabulary.image_edits import Edit, FilterName, attack_of
from sanitizer.attacks.catalogue import build_trigger
from sanitizer.attacks.trigger import Trigger

_FADED = 0.6


def apply(edit: Edit, image_NCHW: Tensor, dose: float = 1.0) -> Tensor:
    """A new tensor in [0, 1] of the dtype of the images, which are floating point in [0, 1]."""
    if edit.edit == "none":
        return image_NCHW
    trigger = _trigger(edit)
    if trigger is not None:
        edited = trigger.apply(image_NCHW, range(len(image_NCHW)), 0).to(image_NCHW.dtype)
    elif edit.edit == "paper":
        edited = image_NCHW * (1 - edit.strength + edit.strength * _colour(edit, image_NCHW))
    elif edit.edit == "wave":
        edited = _waved_down(image_NCHW, edit).clamp(0, 1)
    else:
        assert edit.filter is not None
        edited = _FILTERS[edit.filter](image_NCHW, edit).clamp(0, 1)
    return edited if dose == 1 else (1 - dose) * image_NCHW + dose * edited


@cache
def _trigger(edit: Edit) -> Trigger | None:
    attack = attack_of(edit, None)
    return None if attack is None else build_trigger(attack)


def _colour(edit: Edit, image_NCHW: Tensor) -> Tensor:
    """[3, 1, 1]."""
    text = edit.colour or "#808080"
    shades = [int(text[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    return torch.tensor(shades)[:, None, None].to(image_NCHW, non_blocking=True)


def _saturated(image_NCHW: Tensor, saturation: float) -> Tensor:
    mean_N1HW = image_NCHW.mean(dim=1, keepdim=True)
    return mean_N1HW + saturation * (image_NCHW - mean_N1HW)


def _shifted(image_NCHW: Tensor, edit: Edit) -> Tensor:
    return image_NCHW + edit.strength * (_colour(edit, image_NCHW) - 0.5)


def _pixels(edit: Edit, image_NCHW: Tensor) -> float:
    return edit.strength * image_NCHW.shape[-1] / 32


def _waved_down(image_NCHW: Tensor, edit: Edit) -> Tensor:
    assert edit.frequency is not None
    height = image_NCHW.shape[-2]
    row_H = torch.arange(height, dtype=torch.float64) * (2 * math.pi * edit.frequency / height)
    return image_NCHW + edit.strength * torch.sin(row_H).to(image_NCHW, non_blocking=True)[:, None]


def _blurred(image_NCHW: Tensor, sigma: float) -> Tensor:
    """Two passes of one row and one column; at the border the last pixel goes on."""
    radius = max(1, math.ceil(2 * sigma))
    place_K = torch.arange(-radius, radius + 1, dtype=image_NCHW.dtype, device=image_NCHW.device)
    weight_K = torch.exp(-0.5 * (place_K / sigma).square())
    weight_3K = (weight_K / weight_K.sum()).expand(3, 1, -1)
    padded = functional.pad(image_NCHW, (radius,) * 4, mode="replicate")
    rows = functional.conv2d(padded, weight_3K[:, :, None, :], groups=3)
    return functional.conv2d(rows, weight_3K[:, :, :, None], groups=3)


def _posterised(image_NCHW: Tensor, edit: Edit) -> Tensor:
    steps = edit.strength - 1
    return (image_NCHW * steps).round() / steps


def _pixelated(image_NCHW: Tensor, edit: Edit) -> Tensor:
    side = image_NCHW.shape[-1]
    blocks = max(1, round(side / max(1.0, _pixels(edit, image_NCHW))))
    small = functional.adaptive_avg_pool2d(image_NCHW, blocks)
    return functional.interpolate(small, size=side, mode="nearest")


_SEPIA = ((0.393, 0.769, 0.189), (0.349, 0.686, 0.168), (0.272, 0.534, 0.131))
_TO_YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))


def _mixed(image_NCHW: Tensor, matrix_33: Tensor) -> Tensor:
    return torch.einsum("ij,njhw->nihw", matrix_33.to(image_NCHW, non_blocking=True), image_NCHW)


def _sepia(image_NCHW: Tensor, edit: Edit) -> Tensor:
    sepia = _mixed(image_NCHW, torch.tensor(_SEPIA, dtype=torch.float64))
    return (1 - edit.strength) * image_NCHW + edit.strength * sepia


def _hue(image_NCHW: Tensor, edit: Edit) -> Tensor:
    """A turn of the plane of I and Q, which leaves Y, the brightness, as it is."""
    angle = 2 * math.pi * edit.strength
    cos, sin = math.cos(angle), math.sin(angle)
    turn = torch.tensor([[1, 0, 0], [0, cos, -sin], [0, sin, cos]], dtype=torch.float64)
    to_yiq = torch.tensor(_TO_YIQ, dtype=torch.float64)
    return _mixed(image_NCHW, torch.linalg.inv(to_yiq) @ turn @ to_yiq)


_FILTERS: dict[FilterName, Callable[[Tensor, Edit], Tensor]] = {
    "saturate": lambda x, edit: _saturated(x, edit.strength),
    "contrast": lambda x, edit: 0.5 + edit.strength * (x - 0.5),
    "brightness": lambda x, edit: edit.strength * x,
    "gamma": lambda x, edit: x**edit.strength,
    "blur": lambda x, edit: _blurred(x, _pixels(edit, x)),
    "sharpen": lambda x, edit: x + edit.strength * (x - _blurred(x, x.shape[-1] / 32)),
    "posterise": _posterised,
    "pixelate": _pixelated,
    "sepia": _sepia,
    "invert": lambda x, edit: 1 - x,
    "hue": _hue,
    "shift": _shifted,
    "faded": lambda x, edit: _shifted(_saturated(x, _FADED), edit),
}
