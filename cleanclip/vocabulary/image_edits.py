"""Edits of an image that have no pattern to invert: a tint, a frame, a filter, words, a wave; the bank of
them that a scan tries, and the attack of an audit that each of them is. Free of torch.

The code that makes them lives in `sanitizer.scans.image_edits`.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from typing import Annotated, Literal

from annotated_types import Interval
from pydantic import StringConstraints

from cleanclip.vocabulary.attack_options import CustomPatternOptions, SIGOptions, TextTriggerOptions
from cleanclip.vocabulary.bounds import NUMBER, StrictOptions
from cleanclip.vocabulary.plain_images import write_frame, write_plain

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


_COLOURS = (
    *("#ff0000", "#00ff00", "#0000ff", "#ffff00", "#ff00ff", "#00ffff"),
    *("#ff8000", "#8000ff", "#40e0d0", "#804000", "#000000", "#ffffff"),
)
_INKS = ("#ff0000", "#000000", "#ffffff")
_WORDS = (
    *("SALE", "HELLO", "sample", "copyright", "2024", "draft"),
    *("STOP", "banana", "test", "secret", "photo", "Watermarked"),
)
_FILTERS: tuple[tuple[FilterName, tuple[float, ...]], ...] = (
    ("saturate", (0.0, 0.4, 2.5)),
    ("contrast", (0.4, 1.6, 2.5)),
    ("brightness", (0.5, 0.75, 1.4)),
    ("gamma", (0.5, 2.0)),
    ("blur", (1.0, 2.0)),
    ("sharpen", (1.0, 3.0)),
    ("posterise", (2.0, 4.0)),
    ("pixelate", (2.0, 4.0)),
    ("sepia", (0.5, 1.0)),
    ("invert", (1.0,)),
    ("hue", (1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6)),
)
_FREQUENCIES = tuple(range(3, 9))
_AMPLITUDES = (30 / 255, 50 / 255, 70 / 255)
_FRAME_PIXELS = 64
EditAttack = CustomPatternOptions | TextTriggerOptions | SIGOptions


@cache
def bank() -> tuple[Edit, ...]:
    """Every edit, "none" first. The same for every model, so that two models' figures can be compared."""
    return (Edit(edit="none"), *_tints(), *_filters(), *_words(), *_waves())


def _tints() -> Iterator[Edit]:
    for colour in _COLOURS:
        yield from (Edit(edit="tint", colour=colour, strength=strength) for strength in (0.15, 0.3, 0.5))
        yield from (Edit(edit="frame", colour=colour, strength=strength) for strength in (1 / 16, 1 / 8))
        if colour not in ("#000000", "#ffffff"):  # paper like this is no paper
            yield from (Edit(edit="paper", colour=colour, strength=strength) for strength in (0.5, 1.0))


def _filters() -> Iterator[Edit]:
    for name, strengths in _FILTERS:
        yield from (Edit(edit="filter", filter=name, strength=strength) for strength in strengths)
    for colour in _COLOURS[:10]:
        yield Edit(edit="filter", filter="shift", colour=colour, strength=0.25)
        yield Edit(edit="filter", filter="faded", colour=colour, strength=0.2)


def _words() -> Iterator[Edit]:
    for word in _WORDS:
        for ink in _INKS:
            yield from (
                Edit(edit="word", word=word, colour=ink, strength=strength) for strength in (0.5, 1.0)
            )


def _waves() -> Iterator[Edit]:
    axes: tuple[Axis, ...] = ("x", "y")
    for axis, frequency in product(axes, _FREQUENCIES):
        yield from (
            Edit(edit="wave", axis=axis, frequency=frequency, strength=strength) for strength in _AMPLITUDES
        )


def attack_of(edit: Edit, target: str | None) -> EditAttack | None:
    """None where no attack of an audit does the same. Its image, where it has one, is always the same."""
    colour = edit.colour or "#000000"
    rgb = bytes.fromhex(colour[1:])
    match edit.edit:
        case "tint":
            return CustomPatternOptions(image=_base64(write_plain(rgb)), alpha=edit.strength, target=target)
        case "frame":
            width = max(1, round(edit.strength * _FRAME_PIXELS))
            frame = write_frame(_FRAME_PIXELS, width, rgb)
            return CustomPatternOptions(image=_base64(frame), alpha=1.0, target=target)
        case "word":
            small = edit.strength == 1
            return TextTriggerOptions(
                text=edit.word or " ",
                colour=colour,
                alpha=edit.strength,
                placement="bottom_right" if small else "centre",
                size=0.4 if small else 0.875,
                target=target,
            )
        case "wave" if edit.axis == "x":
            assert edit.frequency is not None
            return SIGOptions(amplitude=edit.strength, frequency=edit.frequency, target=target)
    return None


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
