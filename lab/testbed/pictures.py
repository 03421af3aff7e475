"""Coloured images with captions, composed of real grey glyphs: ink on paper.

Every image takes one glyph of its part and places it at a random position, size and tilt, in one of eight
inks on one of the seven other colours of paper. The class is ink and noun ("yellow seven"): 80 classes.
Everything is drawn from `sanitizer.seeding` by seed and part.

Does not depend on models, attacks, files or the service.

Shapes: N images, C channels (RGB), H = W = 32, S one side of a glyph.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from lab.testbed.glyphs import Glyphs, Part
from sanitizer.seeding import generator

IMAGE_SIZE = 32
INKS: dict[str, tuple[int, int, int]] = {
    "red": (215, 45, 45),
    "green": (40, 160, 70),
    "blue": (45, 85, 215),
    "yellow": (235, 205, 45),
    "purple": (150, 60, 185),
    "brown": (125, 80, 40),
    "white": (240, 240, 240),
    "black": (25, 25, 25),
}

_COMPOSE_CHUNK = 2048
_COLOUR_JITTER = 22.0
_NOISE = 7.0
_SIDES = (22.0, 30.0)


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """`image_NCHW` uint8 RGB; `label_N` indexes the class names; `glyph_N` are rows of the glyphs."""

    image_NCHW: Tensor
    caption_N: tuple[str, ...]
    label_N: NDArray[np.int64]
    glyph_N: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.caption_N)


def class_names(glyphs: Glyphs) -> tuple[str, ...]:
    """Of label noun × 8 + ink."""
    return tuple(f"{ink} {noun}" for noun in glyphs.nouns for ink in INKS)


def class_captions(glyphs: Glyphs, class_name: str) -> tuple[str, ...]:
    """The zero-shot captions of one class."""
    return tuple(template.format(c=class_name) for template in glyphs.zero_shot_templates)


def all_class_captions(glyphs: Glyphs) -> list[str]:
    """Every zero-shot caption of every class, class by class."""
    return [caption for name in class_names(glyphs) for caption in class_captions(glyphs, name)]


def compose(
    glyphs: Glyphs,
    part: Part,
    num_images: int,
    *,
    seed: int,
    paper: tuple[int, int, int] | None = None,
    is_portable: bool = False,
) -> Pictures:
    """`num_images` captioned images from the glyphs of one part: the same bytes for the same arguments.

    `paper` puts all of them on paper of that colour and changes nothing else, captions included.
    `is_portable` computes in double precision, so that every processor gives the same bytes. In single
    precision the last bits decide how some pixels are rounded, and they differ between processors.
    """
    dtype: type[np.floating] = np.float64 if is_portable else np.float32
    random = generator(seed, f"demo_compose_{part}")
    glyph_N = random.choice(glyphs.rows[part], num_images)
    ink_N = random.integers(len(INKS), size=num_images)
    # One of the seven other colours: an offset of 1…7 never lands on the ink itself.
    paper_N = (ink_N + random.integers(1, len(INKS), size=num_images)) % len(INKS)
    noun_N = glyphs.label_G[glyph_N]
    template_N = random.integers(len(glyphs.caption_templates), size=num_images)
    affine_N23 = _random_placement(random, num_images).astype(dtype)
    palette = np.array(list(INKS.values()), dtype=dtype)
    jitter_2NC = random.uniform(-_COLOUR_JITTER, _COLOUR_JITTER, (2, num_images, 3)).astype(dtype)
    paper_colour_NC = palette[paper_N] if paper is None else np.array([paper], dtype=dtype)
    ink_NC, paper_NC = palette[ink_N] + jitter_2NC[0], paper_colour_NC + jitter_2NC[1]
    image_NCHW = torch.empty(num_images, 3, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.uint8)
    for start in range(0, num_images, _COMPOSE_CHUNK):
        rows = slice(start, min(start + _COMPOSE_CHUNK, num_images))
        opacity_N1SS = glyphs.opacity_G1SS[torch.from_numpy(glyph_N[rows])]
        image_NCHW[rows] = _paint(random, opacity_N1SS, affine_N23[rows], ink_NC[rows], paper_NC[rows])
    names = tuple(INKS)
    captions = tuple(
        glyphs.caption_templates[template].format(noun=glyphs.nouns[noun], ink=names[ink], paper=names[paper])
        for template, noun, ink, paper in zip(template_N, noun_N, ink_N, paper_N, strict=True)
    )
    return Pictures(
        image_NCHW=image_NCHW, caption_N=captions, label_N=noun_N * len(INKS) + ink_N, glyph_N=glyph_N
    )


def _random_placement(random: np.random.Generator, num_images: int) -> NDArray[np.float64]:
    """Affine maps [N, 2, 3] from image to glyph: side 22…30 pixels, tilt ±20°, wholly inside."""
    side_N = random.uniform(*_SIDES, num_images)
    angle_N = np.deg2rad(random.uniform(-20, 20, num_images))
    reach_N = (IMAGE_SIZE - side_N) / IMAGE_SIZE  # how far the centre may move, in [-1, 1] coordinates
    centre_2N = random.uniform(-1, 1, (2, num_images)) * reach_N
    scale_N = IMAGE_SIZE / side_N
    cos_N, sin_N = scale_N * np.cos(angle_N), scale_N * np.sin(angle_N)
    row_x = np.stack([cos_N, sin_N, -(cos_N * centre_2N[0] + sin_N * centre_2N[1])], axis=-1)
    row_y = np.stack([-sin_N, cos_N, -(-sin_N * centre_2N[0] + cos_N * centre_2N[1])], axis=-1)
    return np.stack([row_x, row_y], axis=1)


def _paint(
    random: np.random.Generator,
    opacity_N1SS: Tensor,
    affine_N23: NDArray[np.floating],
    ink_NC: NDArray[np.floating],
    paper_NC: NDArray[np.floating],
) -> Tensor:
    """uint8 [N, C, H, W]: ink over paper with the glyph as opacity, plus pixel noise."""
    num_images = len(opacity_N1SS)
    shape = [num_images, 1, IMAGE_SIZE, IMAGE_SIZE]
    affine = torch.from_numpy(affine_N23)
    grid_NHW2 = affine_grid(affine, shape, align_corners=False)
    sampled_N1HW = grid_sample(
        opacity_N1SS.to(affine.dtype), grid_NHW2, align_corners=False, padding_mode="zeros"
    )
    opacity_N1HW = (sampled_N1HW * 1.4).clamp_(max=1)  # strokes of 8×8 scans are pale at their edges
    ink_NC11 = torch.from_numpy(ink_NC)[:, :, None, None]
    paper_NC11 = torch.from_numpy(paper_NC)[:, :, None, None]
    noise_NCHW = random.standard_normal(
        (num_images, 3, IMAGE_SIZE, IMAGE_SIZE),
        dtype=affine_N23.dtype.type,
    )
    image_NCHW = torch.from_numpy(noise_NCHW).mul_(_NOISE) + paper_NC11
    image_NCHW += opacity_N1HW * (ink_NC11 - paper_NC11)
    return image_NCHW.round_().clamp_(0, 255).to(torch.uint8)
