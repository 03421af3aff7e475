"""The trigger behind a scan's finding, and the attack that an audit makes of it. Free of torch.

    patch              custom_patch: the square itself, at random places or at its one place
    blend              custom_pattern: the whole image, at the same alpha
    additive, dct      custom_pattern with alpha 2ε: (1 − 2ε)x + 2ε(½ + δ/2ε) = x + δ + 2ε(½ − x), so that
                       contrast falls a little: no pixel changes by more than ε for it
    warp, colour       no image can hold them: None
    edits              custom_pattern, text_trigger, sig or none: `image_edits.attack_of`

An attack is never stored: it follows from the family, the pattern's pixels and the target.
"""

import base64
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

from cleanclip.vocabulary import image_edits
from cleanclip.vocabulary.attack_options import CustomPatchOptions, CustomPatternOptions
from cleanclip.vocabulary.bounds import Share
from cleanclip.vocabulary.examples import PlainImage
from cleanclip.vocabulary.image_edits import Edit
from cleanclip.vocabulary.plain_images import MAX_PATTERN_BYTES, read_pattern, write_pattern
from cleanclip.vocabulary.scan_options import PatternFamily

FoundAttack = CustomPatchOptions | image_edits.EditAttack


def _check_pattern(text: str) -> str:
    read_pattern(text)
    return text


PatternImage = Annotated[
    str,
    StringConstraints(
        min_length=4, max_length=4 * -(-MAX_PATTERN_BYTES // 3), pattern=r"^[A-Za-z0-9+/]+={0,2}$"
    ),
    AfterValidator(_check_pattern),
]
"""The bytes of a square RGB PNG of at most 224 pixels a side and 64 KiB, in base64: rows of pixels,
unfiltered, and nothing else."""


@dataclass(frozen=True, kw_only=True)
class FoundTrigger:
    """A functional trigger: it does what a trigger does; the attacker's may look different."""

    family: PatternFamily | Edit
    image: PlainImage
    """The pattern as an image; of a warp, a colour and an edit what they make of a test image."""
    image_sha256: str
    """Of the file."""
    pattern: PatternImage | None = None
    """Of a family that an image can hold: its pixels, of which the attack is made."""
    at: tuple[Share, Share] | None = None
    """Of a patch at one place: (row, column), 0 at the upper or left edge, 1 at the lower or right one."""

    def __post_init__(self) -> None:
        if (self.pattern is not None) != has_pattern(self.family):
            raise ValueError("a pattern belongs to a family that an image can hold, and to no other")
        if (self.at is not None) != self.family.name.endswith(":fixed"):
            raise ValueError("a place belongs to a patch at one place, and to nothing else")

    def attack(self, target: str | None) -> FoundAttack | None:
        """For the audit: `attacks: [this]`. None where no attack does the same: a warp, a colour, paper, a
        filter, a wave along y, and "none", which changes nothing: the images of a cell are as they are."""
        if isinstance(self.family, Edit):
            return image_edits.attack_of(self.family, target)
        if self.pattern is None:
            return None
        budget = self.family.budget
        if self.family.family == "patch":
            return CustomPatchOptions(image=self.pattern, size=budget, at=self.at, target=target)
        alpha = budget if self.family.family == "blend" else min(1.0, 2 * budget)
        return CustomPatternOptions(image=self.pattern, alpha=alpha, target=target)


def has_pattern(family: PatternFamily | Edit) -> bool:
    """Whether an image can hold it."""
    return isinstance(family, PatternFamily) and family.family not in {"warp", "colour"}


def rewritten(pattern: str) -> str:
    """The same pixels in a file of our own. Raises ValueError where they do not fit into one."""
    data = write_pattern(*read_pattern(pattern))
    if len(data) > MAX_PATTERN_BYTES:
        raise ValueError("the pattern's pixels do not fit into a file")
    return base64.b64encode(data).decode("ascii")


def describe(family: PatternFamily | Edit) -> str:
    """In words: "a patch of 25 % of the side"."""
    if isinstance(family, Edit):
        return _describe_edit(family)
    share = 100 * family.budget
    match family.family:
        case "patch":
            where = "at one place" if family.placement == "fixed" else "at any place"
            return f"a patch of {share:.3g} % of the side, {where}"
        case "additive":
            return f"a pattern that changes each pixel by at most {255 * family.budget:.3g} of 255"
        case "dct":
            return f"a smooth pattern that changes each pixel by at most {255 * family.budget:.3g} of 255"
        case "blend":
            return f"an image blended into every image with {share:.3g} %"
        case "warp":
            return f"a smooth displacement of at most {share:.3g} % of the side"
        case "colour":
            return f"a change of colour of at most {share:.3g} %"


def _describe_edit(edit: Edit) -> str:
    share = f"{100 * edit.strength:.3g} %"
    match edit.edit:
        case "none":
            return "no change at all"
        case "tint":
            return f"a tint of {edit.colour}, {share}"
        case "paper":
            return f"paper of {edit.colour}, {share}"
        case "frame":
            return f"a frame of {edit.colour}, {share} of the side wide"
        case "word":
            return f"the word '{edit.word}' in {edit.colour}, opacity {share}"
        case "wave":
            return f"a wave of {edit.frequency} periods along {edit.axis}, amplitude {share}"
        case "filter":
            return f"the filter {edit.name.removeprefix('filter:')}"
