"""Edits of an image that have no pattern to invert: a tint, a frame, a filter, words, a wave. Free of torch.

The code that makes them lives in `sanitizer.scans.image_edits`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

from annotated_types import Interval
from pydantic import StringConstraints

from cleanclip.spec.bounds import NUMBER, StrictOptions

EditName = Literal["none", "tint", "paper", "frame", "filter", "word", "wave"]
Axis = Literal["x", "y"]
FilterName = Literal[
    "saturate",
    "contrast",
    "brightness",
    "gamma",
    "blur",
    "sharpen",
    "posterise",
    "pixelate",
    "sepia",
    "invert",
    "hue",
    "shift",
    "faded",
]


@dataclass(frozen=True, kw_only=True)
class Edit(StrictOptions):
    """One edit, the same in every image; "none" leaves the image as it is.

    `strength`: of `tint` the colour's share of a pixel; of `paper` how far white becomes the colour; of
    `frame` its width by the image's side; of `word` the ink's opacity; of `wave` its amplitude, in units of
    the whole range; of `filter` see `sanitizer.scans.image_edits`.
    """

    edit: EditName
    strength: Annotated[float, Interval(ge=-10, le=256), NUMBER] = 1.0
    filter: FilterName | None = None
    colour: Annotated[str, StringConstraints(pattern=r"^#[0-9a-f]{6}$")] | None = None
    word: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9 ]{1,32}$")] | None = None
    axis: Axis | None = None
    """Along which a wave runs: x is SIG's."""
    frequency: Annotated[int, Interval(ge=1, le=512), NUMBER] | None = None
    """Of a wave: periods in an image."""

    @cached_property
    def name(self) -> str:
        """ "tint:#ff0000:0.3", "filter:blur:2", "wave:x:6:0.196", "none"."""
        if self.edit == "none":
            return "none"
        parts = (self.edit, self.filter, self.word, self.colour, self.axis, self.frequency)
        return ":".join(str(part) for part in (*parts, f"{self.strength:.3g}") if part is not None)

    @property
    def group(self) -> str:
        """Of each group the most conspicuous edit is measured: edits of one kind."""
        return self.edit
