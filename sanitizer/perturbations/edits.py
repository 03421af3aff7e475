"""The families of edits: changes of a whole image that a few numbers describe, as of a camera or of paper.

An edit is a vector p of numbers in [0, 1], so it is a `Family` as a patch is: it is drawn and optimised, but
for the width of a frame. Its numbers are continuous, so that no list of colours or waves is learned by heart.
`strength` in (0, 1] scales how far an edit goes; below it is 1. c is a colour p[0:3].

    tint     (1 − s) x + s c                              s from .1 to .5
    cast     x · ((1 − s) + s c')                         s from .3 to 1; c' = (.1 + .9 c) over its brightest
                                                          channel, so that nothing becomes black
    frame    c on a border of s of the side               s from 1/32 to 5/32
    tone     ½ + g (m + k (x − m) − ½) + b                m the mean of a pixel's channels; saturation k from
                                                          .4 to 2, contrast g from .5 to 2, b within ± .2
    wave     x + a sin(2π f (u cos θ + v sin θ) + φ)      a from .08 to .3, f from 1 to 10, any θ and φ; u, v
                                                          the place by the side, from the left and from above
    blur     a Gaussian of s 1/32ths of the side          s from .5 to 2
    turn     turned by ± 15°, sheared by ± .15, scaled by .85 to 1.15; outside is the border's colour

Legend: N images, 3 channels, H = W; p is [N, K].
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, conv2d, grid_sample, pad


@dataclass(frozen=True)
class Edit:
    """A family of edits. Its numbers have no place and do not depend on the image's size."""

    strength: float = 1.0
    num_numbers: ClassVar[int]

    def shape(self, image_size: int) -> tuple[int, ...]:
        """Whatever the image's size."""
        return (self.num_numbers,)

    def apply(self, image_NCHW: Tensor, value_N: Tensor, place_N2: Tensor) -> Tensor:
        """The images, each with its own row of `value_N`, [N, K]."""
        return self.edited(image_NCHW, value_N.to(image_NCHW.dtype)).clamp(0, 1)

    def edited(self, image_NCHW: Tensor, p_NK: Tensor) -> Tensor:
        """Before it is cut to [0, 1]."""
        raise NotImplementedError

    def _within(self, p_N: Tensor, least: float, most: float, neutral: float = 0.0) -> Tensor:
        """[N, 1, 1, 1]: from least to most, then as far from `neutral` as the strength says."""
        number_N = neutral + self.strength * (least + p_N * (most - least) - neutral)
        return number_N[:, None, None, None]


@dataclass(frozen=True)
class Tint(Edit):
    """A transparent colour over the image."""

    num_numbers = 4

    def edited(self, image_NCHW: Tensor, p_NK: Tensor) -> Tensor:
        share = self._within(p_NK[:, 3], 0.1, 0.5)
        return (1 - share) * image_NCHW + share * p_NK[:, :3, None, None]


@dataclass(frozen=True)
class Cast(Edit):
    """Light of a colour, or white paper of another."""

    num_numbers = 4

    def edited(self, image_NCHW: Tensor, p_NK: Tensor) -> Tensor:
        share = self._within(p_NK[:, 3], 0.3, 1.0)
        colour_NC = 0.1 + 0.9 * p_NK[:, :3]
        colour_NC = colour_NC / colour_NC.amax(dim=1, keepdim=True)
        return image_NCHW * (1 - share + share * colour_NC[:, :, None, None])


@dataclass(frozen=True)
class Frame(Edit):
    """A border of one colour."""

    num_numbers = 4

    def edited(self, image_NCHW: Tensor, p_NK: Tensor) -> Tensor:
        width = self._within(p_NK[:, 3], 1 / 32, 5 / 32)
        size = image_NCHW.shape[-1]
        centre_W = (torch.arange(size, dtype=image_NCHW.dtype, device=image_NCHW.device) + 0.5) / size
        inset_W = torch.minimum(centre_W, 1 - centre_W)
        inset_HW = torch.minimum(inset_W[:, None], inset_W[None, :])
        return torch.where(inset_HW < width, p_NK[:, :3, None, None], image_NCHW)


@dataclass(frozen=True)
class Tone(Edit):
    """Saturation, contrast and brightness together: the filter of a camera's application."""

    num_numbers = 3

    def edited(self, image_NCHW: Tensor, p_NK: Tensor) -> Tensor:
        saturation = self._within(p_NK[:, 0], 0.4, 2.0, 1.0)
        contrast = self._within(p_NK[:, 1], 0.5, 2.0, 1.0)
        brightness = self._within(p_NK[:, 2], -0.2, 0.2)
        mean_N1HW = image_NCHW.mean(dim=1, keepdim=True)
        saturated_NCHW = mean_N1HW + saturation * (image_NCHW - mean_N1HW)
        return 0.5 + contrast * (saturated_NCHW - 0.5) + brightness


@dataclass(frozen=True)
class Wave(Edit):
    """A sinusoid in any direction, the same in all channels."""

    num_numbers = 4

    def edited(self, image_NCHW: Tensor, p_NK: Tensor) -> Tensor:
        amplitude = self._within(p_NK[:, 0], 0.08, 0.3)
        frequency, angle, phase = 1 + 9 * p_NK[:, 1], 2 * math.pi * p_NK[:, 2], 2 * math.pi * p_NK[:, 3]
        size = image_NCHW.shape[-1]
        place_W = torch.arange(size, dtype=image_NCHW.dtype, device=image_NCHW.device) / size
        right_N, down_N = ((frequency * turned)[:, None, None] for turned in (angle.cos(), angle.sin()))
        cycles_NHW = right_N * place_W[None, :] + down_N * place_W[:, None]
        wave_NHW = torch.sin(2 * math.pi * cycles_NHW + phase[:, None, None])
        return image_NCHW + amplitude * wave_NHW[:, None]


@dataclass(frozen=True)
class Blur(Edit):
    """Out of focus. Two passes of one row and one column; at the border the last pixel goes on."""

    num_numbers = 1
    largest: ClassVar[float] = 2.0

    def edited(self, image_NCHW: Tensor, p_NK: Tensor) -> Tensor:
        num_images, channels, height, width = image_NCHW.shape
        sigma = self._within(p_NK[:, 0], 0.5, self.largest)[:, :, 0, 0] * width / 32
        radius = min(width - 1, math.ceil(2.5 * self.largest * width / 32))
        place_L = torch.arange(-radius, radius + 1, dtype=image_NCHW.dtype, device=image_NCHW.device)
        weight_NL = torch.exp(-0.5 * (place_L / sigma).square())
        weight_NL = (weight_NL / weight_NL.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)
        padded = pad(image_NCHW, (radius,) * 4, mode="replicate").flatten(0, 1)[None]
        rows = conv2d(padded, weight_NL[:, None, None, :], groups=len(weight_NL))
        both = conv2d(rows, weight_NL[:, None, :, None], groups=len(weight_NL))
        return both.reshape(num_images, channels, height, width)


@dataclass(frozen=True)
class Turn(Edit):
    """The image on a slightly other plane."""

    num_numbers = 3

    def edited(self, image_NCHW: Tensor, p_NK: Tensor) -> Tensor:
        angle, shear, scale = (
            self._within(p_NK[:, place], least, most, neutral)[:, 0, 0, 0]
            for place, (least, most, neutral) in enumerate(
                ((-math.pi / 12, math.pi / 12, 0.0), (-0.15, 0.15, 0.0), (1 / 1.15, 1 / 0.85, 1.0))
            )
        )
        cos, sin, none = scale * angle.cos(), scale * angle.sin(), torch.zeros_like(angle)
        to_image_N23 = torch.stack(
            [
                torch.stack([cos, shear * cos - sin, none], dim=-1),
                torch.stack([sin, shear * sin + cos, none], dim=-1),
            ],
            dim=1,
        )
        grid_NHW2 = affine_grid(to_image_N23, list(image_NCHW.shape), align_corners=False)
        return grid_sample(image_NCHW, grid_NHW2, padding_mode="border", align_corners=False)


KINDS: tuple[type[Edit], ...] = (Cast, Tint, Wave, Tone, Frame, Blur, Turn)


def families(strength: float) -> tuple[Edit, ...]:
    """One of each, in a fixed order."""
    return tuple(kind(strength) for kind in KINDS)
