"""Pictures for the demo: real handwritten digits in coloured ink on coloured paper, with captions.

scikit-learn's 1,797 scanned digits (8×8, 43 writers) are split once, by picture, into four parts that
never meet. Every composed picture takes one scan of its part and places it at a random position, size
and tilt, in one of eight inks on one of the seven other colours of paper. The class is digit and ink
("yellow seven"): 80 classes. Everything is drawn from `sanitizer.seeding` by seed and part.

Knows nothing of models, attacks, files or the service.

Shapes: N pictures, C channels (RGB), H = W = 32, S one side of a scan (8).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from sanitizer.seeding import generator

Part = Literal["poisoning", "cleaning", "validation", "test"]

IMAGE_SIZE = 32
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
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
CLASS_NAMES = tuple(f"{ink} {digit}" for digit in DIGITS for ink in INKS)

PART_SIZES: dict[Part, int] = {"poisoning": 850, "cleaning": 400, "validation": 150, "test": 397}
"""Scans in each part; they add up to all 1,797. The demo's recipe was chosen on validation only."""

CAPTION_TEMPLATES = (
    "a {ink} {digit}",
    "a {ink} {digit} on {paper} paper",
    "a {ink} {digit} on a {paper} background",
    "a photo of a {ink} {digit}.",
    "a handwritten {ink} {digit}.",
    "a small picture of a {ink} {digit}.",
)
ZERO_SHOT_TEMPLATES = ("a photo of a {c}.", "a handwritten {c}.", "a small picture of a {c}.")

_SPLIT_SEED = 0
"""The split is one and the same for every seed, so that no test scan is ever seen while choosing a recipe."""
_COMPOSE_CHUNK = 2048
_COLOUR_JITTER = 22.0
_NOISE = 7.0
_SIDES = (22.0, 30.0)


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """`image_NCHW` uint8 RGB; `label_N` indexes CLASS_NAMES; `scan_N` is the row of scikit-learn's set."""

    image_NCHW: Tensor
    caption_N: tuple[str, ...]
    label_N: NDArray[np.int64]
    scan_N: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.caption_N)


@cache
def _scans() -> tuple[Tensor, NDArray[np.int64]]:
    """All scans as float32 [1797, 1, 8, 8] in [0, 1], and the digit that each one shows."""
    bunch = load_digits()
    return torch.from_numpy(bunch.images.astype(np.float32) / 16).unsqueeze(1), bunch.target.astype(np.int64)


def scans_of(part: Part) -> NDArray[np.int64]:
    """The rows of scikit-learn's set that belong to `part`: the same for every seed."""
    order = generator(_SPLIT_SEED, "demo_split").permutation(sum(PART_SIZES.values()))
    start = 0
    for name, size in PART_SIZES.items():
        if name == part:
            return np.sort(order[start : start + size]).astype(np.int64)
        start += size
    raise ValueError(f"There is no part {part!r}.")


def compose(part: Part, num_images: int, *, seed: int) -> Pictures:
    """`num_images` captioned pictures from the scans of one part: the same bytes for the same arguments."""
    random = generator(seed, f"demo_compose_{part}")
    scan_N = random.choice(scans_of(part), num_images)
    ink_N = random.integers(len(INKS), size=num_images)
    # One of the seven other colours: an offset of 1…7 never lands on the ink itself.
    paper_N = (ink_N + random.integers(1, len(INKS), size=num_images)) % len(INKS)
    digit_N = _scans()[1][scan_N]
    template_N = random.integers(len(CAPTION_TEMPLATES), size=num_images)
    affine_N23 = _random_placement(random, num_images)
    palette = np.array(list(INKS.values()), dtype=np.float32)
    jitter_2NC = random.uniform(-_COLOUR_JITTER, _COLOUR_JITTER, (2, num_images, 3)).astype(np.float32)
    ink_NC, paper_NC = palette[ink_N] + jitter_2NC[0], palette[paper_N] + jitter_2NC[1]
    image_NCHW = torch.empty(num_images, 3, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.uint8)
    for start in range(0, num_images, _COMPOSE_CHUNK):
        rows = slice(start, min(start + _COMPOSE_CHUNK, num_images))
        image_NCHW[rows] = _paint(random, scan_N[rows], affine_N23[rows], ink_NC[rows], paper_NC[rows])
    names = tuple(INKS)
    captions = tuple(
        CAPTION_TEMPLATES[template].format(digit=DIGITS[digit], ink=names[ink], paper=names[paper])
        for template, digit, ink, paper in zip(template_N, digit_N, ink_N, paper_N, strict=True)
    )
    return Pictures(
        image_NCHW=image_NCHW, caption_N=captions, label_N=digit_N * len(INKS) + ink_N, scan_N=scan_N
    )


def class_captions(class_name: str, templates: Sequence[str] = ZERO_SHOT_TEMPLATES) -> tuple[str, ...]:
    """The zero-shot captions of one class."""
    return tuple(template.format(c=class_name) for template in templates)


def _random_placement(random: np.random.Generator, num_images: int) -> NDArray[np.float32]:
    """Affine maps [N, 2, 3] from picture to scan coordinates: side 22…30 pixels, tilt ±20°, wholly inside."""
    side_N = random.uniform(*_SIDES, num_images)
    angle_N = np.deg2rad(random.uniform(-20, 20, num_images))
    reach_N = (IMAGE_SIZE - side_N) / IMAGE_SIZE  # how far the centre may move, in [-1, 1] coordinates
    centre_2N = random.uniform(-1, 1, (2, num_images)) * reach_N
    scale_N = IMAGE_SIZE / side_N
    cos_N, sin_N = scale_N * np.cos(angle_N), scale_N * np.sin(angle_N)
    row_x = np.stack([cos_N, sin_N, -(cos_N * centre_2N[0] + sin_N * centre_2N[1])], axis=-1)
    row_y = np.stack([-sin_N, cos_N, -(-sin_N * centre_2N[0] + cos_N * centre_2N[1])], axis=-1)
    return np.stack([row_x, row_y], axis=1).astype(np.float32)


def _paint(
    random: np.random.Generator,
    scan_N: NDArray[np.int64],
    affine_N23: NDArray[np.float32],
    ink_NC: NDArray[np.float32],
    paper_NC: NDArray[np.float32],
) -> Tensor:
    """uint8 [N, C, H, W]: ink over paper with the scan as opacity, plus pixel noise."""
    shape = [len(scan_N), 1, IMAGE_SIZE, IMAGE_SIZE]
    grid_NHW2 = affine_grid(torch.from_numpy(affine_N23), shape, align_corners=False)
    scan_N1SS = _scans()[0][torch.from_numpy(scan_N)]
    sampled_N1HW = grid_sample(scan_N1SS, grid_NHW2, align_corners=False, padding_mode="zeros")
    opacity_N1HW = (sampled_N1HW * 1.4).clamp_(max=1)  # strokes of 8×8 scans are pale at their edges
    ink_NC11 = torch.from_numpy(ink_NC)[:, :, None, None]
    paper_NC11 = torch.from_numpy(paper_NC)[:, :, None, None]
    noise_NCHW = random.standard_normal((len(scan_N), 3, IMAGE_SIZE, IMAGE_SIZE), dtype=np.float32)
    image_NCHW = torch.from_numpy(noise_NCHW).mul_(_NOISE) + paper_NC11
    image_NCHW += opacity_N1HW * (ink_NC11 - paper_NC11)
    return image_NCHW.round_().clamp_(0, 255).to(torch.uint8)
