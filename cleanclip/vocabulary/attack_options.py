"""Which triggers can be audited, with their bounds, and the suites of them. Free of torch and of Pillow.

`vocabulary.recipe` gives these names to the rest; the code that obeys them lives in `attacks`. An image
comes as base64: here only its shape and length are looked at, its bytes are decoded in the child alone.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from typing import Annotated, Any, Literal, get_args

from annotated_types import Gt, Interval, Le
from pydantic import Field, StringConstraints

from cleanclip.vocabulary.bounds import NUMBER, Seed, Share, ShortText, StrictOptions, label

MAX_ATTACKS = 32
"""Of one audit."""
MAX_TRIGGER_IMAGE_BYTES = 64 * 1024
MAX_TRIGGER_IMAGE_SIDE = 512
MAX_TRIGGER_IMAGE_CHARACTERS = 4 * -(-MAX_TRIGGER_IMAGE_BYTES // 3)
MAX_TRIGGER_IMAGES_CHARACTERS = 2 * MAX_TRIGGER_IMAGE_CHARACTERS
"""All images of one audit: they stand in the job, and three times in its report."""

Placement = Literal[
    "random", "random_inner", "top_left", "top_right", "bottom_left", "bottom_right", "centre"
]
"""`random`: every place alike. `random_inner`: never the last row or column, as published code draws places
(`random.randint(0, H - p - 1)`); it matches the ASR of an attack that was made with such code."""
SidePart = Annotated[float, Gt(0), Le(1), NUMBER]
"""A share of the image's shorter side."""
Opacity = Annotated[float, Gt(0), Le(1), NUMBER]
TriggerImage = Annotated[
    str,
    StringConstraints(
        min_length=4,
        max_length=MAX_TRIGGER_IMAGE_CHARACTERS,
        pattern=r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
    ),
]
"""The bytes of a PNG or JPEG file in base64 (RFC 4648 section 4: +, / and padding, in one line)."""


@dataclass(frozen=True, kw_only=True)
class _OfEveryAttack:
    target: Annotated[ShortText | None, label("Its own target", is_advanced=True)] = None
    """The class that this trigger leads to, a name of the labelled set. None: the target of the audit."""


@dataclass(frozen=True, kw_only=True)
class BadNetOptions(_OfEveryAttack, StrictOptions):
    """A small patch (BadNets, arXiv 1708.06733). Sizes are shares of the image's side (16/224 as CleanCLIP).

    `gaussian`: image mean per channel + N(0,1), clipped to [0,1]; `stripes`: columns one pixel wide, each
    channel of each 0 or 1 by chance (PAR, arXiv 2412.00727); both `redrawn` for every image as in research
    code, or one `fixed` pattern; `checkerboard`, `yellow` and `white` are constant.
    """

    attack: Literal["badnet"] = "badnet"
    pattern: Annotated[
        Literal[
            "gaussian_redrawn",
            "gaussian_fixed",
            "checkerboard",
            "yellow",
            "white",
            "stripes_redrawn",
            "stripes_fixed",
        ],
        label("Pattern"),
    ] = "gaussian_redrawn"
    """What the patch shows; redrawn for every image, or fixed."""
    placement: Annotated[Placement | Literal["four_corners"], label("Placement")] = "random"
    """Where the trigger is placed; random: drawn for each image."""
    size: Annotated[SidePart, label("Size", "from 0 to 1")] = 16 / 224
    """Longer side of the trigger, as a share of the image's side."""
    pattern_seed: Annotated[Seed, label("Seed of the pattern", is_advanced=True)] = 0
    """Seed of a fixed pattern: the secret that the attacker uses in training and at test time."""


@dataclass(frozen=True, kw_only=True)
class BlendedOptions(_OfEveryAttack, StrictOptions):
    """x' = (1 - alpha) x + alpha * noise over the whole image (Chen et al., arXiv 1712.05526).

    `uniform`: noise ~ U[0,1]. PAR's (arXiv 2412.00727): `stripes`, columns one pixel wide, each channel of
    each -1 or 1 by chance (alpha 0.03 there); `triangles`, a grid of squares of side `cell`, 0.4 below their
    diagonal and 0.8 above it (alpha 0.15 there).
    """

    attack: Literal["blended"] = "blended"
    pattern: Annotated[
        Literal["uniform_redrawn", "uniform_fixed", "stripes_redrawn", "stripes_fixed", "triangles"],
        label("Pattern"),
    ] = "uniform_redrawn"
    """What is blended over the image; redrawn for every image, or fixed."""
    alpha: Annotated[Opacity, label("Blend", "from 0 to 1")] = 0.2
    """Share of the pattern in the blend."""
    cell: Annotated[SidePart, label("Side of a triangle", "from 0 to 1", is_advanced=True)] = 14 / 224
    """Side of a square of `triangles`, as a share of the image's side."""
    pattern_seed: Annotated[Seed, label("Seed of the pattern", is_advanced=True)] = 0
    """Seed of a fixed pattern: the secret that the attacker uses in training and at test time."""


@dataclass(frozen=True, kw_only=True)
class WaNetOptions(_OfEveryAttack, StrictOptions):
    """Image warping (WaNet, arXiv 2102.10369). k = 4, s = 0.5 is the paper's smooth warp;
    `control_points` = None is the research code's k = image side (per-pixel jitter), with s = 1."""

    attack: Literal["wanet"] = "wanet"
    control_points: Annotated[
        Annotated[int, Interval(ge=2, le=1024), NUMBER] | None,
        label("Control points", "a side", is_advanced=True),
    ] = 4
    """Control points of the warp along a side; null: one for each pixel."""
    strength: Annotated[float, Gt(0), Le(10), NUMBER, label("Strength")] = 0.5
    """How far control points move."""
    grid_rescale: Annotated[float, Gt(0), Le(2), NUMBER, label("Rescale of the grid", is_advanced=True)] = 1.0
    """Factor on the warped grid."""
    pattern_seed: Annotated[Seed, label("Seed of the pattern", is_advanced=True)] = 0
    """Seed of a fixed pattern: the secret that the attacker uses in training and at test time."""


@dataclass(frozen=True, kw_only=True)
class SIGOptions(_OfEveryAttack, StrictOptions):
    """A sinusoidal stripe pattern (SIG, arXiv 1902.11237): v(i,j) = amplitude * sin(2 pi j f / width)."""

    attack: Literal["sig"] = "sig"
    amplitude: Annotated[Opacity, label("Amplitude", "from 0 to 1")] = 60 / 255
    """Amplitude of the sine, for pixels in [0, 1]."""
    frequency: Annotated[int, Interval(ge=1, le=512), NUMBER, label("Frequency")] = 6
    """Waves across the image."""
    blend: Annotated[Opacity | None, label("Blend", "from 0 to 1", is_advanced=True)] = None
    """null: added at full amplitude; else the share of the striped image in a blend."""


@dataclass(frozen=True, kw_only=True)
class LabelConsistentOptions(_OfEveryAttack, StrictOptions):
    """The patch of BadNet put only on images that already carry the target's caption (arXiv 1912.02771).

    The attack differs from `badnet` only in how the training data is poisoned (captions stay true). An
    audit applies the patch, so it measures the same as `badnet` with the same pattern, placement and size."""

    attack: Literal["label_consistent"] = "label_consistent"
    pattern: Annotated[Literal["gaussian_redrawn", "gaussian_fixed"], label("Pattern")] = "gaussian_redrawn"
    """What the patch shows; redrawn for every image, or fixed."""
    placement: Annotated[Placement, label("Placement")] = "random"
    """Where the trigger is placed; random: drawn for each image."""
    size: Annotated[SidePart, label("Size", "from 0 to 1")] = 16 / 224
    """Longer side of the trigger, as a share of the image's side."""
    pattern_seed: Annotated[Seed, label("Seed of the pattern", is_advanced=True)] = 0
    """Seed of a fixed pattern: the secret that the attacker uses in training and at test time."""


@dataclass(frozen=True, kw_only=True)
class TextTriggerOptions(_OfEveryAttack, StrictOptions):
    """Words over the image: x' = (1 - alpha) x + alpha * colour on the letters.

    The defaults are PAR's Blended-Text (arXiv 2412.00727). `size` is the longer side of the text; `at`,
    if given, overrides `placement`. A to z, digits and signs of ASCII, in Pillow's built-in font;
    for other letters use an image.
    """

    attack: Literal["text_trigger"] = "text_trigger"
    text: Annotated[
        str, StringConstraints(min_length=1, max_length=64, pattern=r"^[ -~]+$"), label("Words")
    ] = "Watermarked"
    """The words, in ASCII."""
    colour: Annotated[
        str, StringConstraints(pattern=r"^#[0-9a-fA-F]{6}$"), label("Colour", is_advanced=True)
    ] = "#ff0000"
    """Colour of the text, as #rrggbb."""
    placement: Annotated[Placement, label("Placement")] = "centre"
    """Where the trigger is placed; random: drawn for each image."""
    at: Annotated[tuple[Share, Share] | None, label("At", "each from 0 to 1", is_advanced=True)] = None
    """[row, column], 0 at the upper or left edge, 1 at the lower or right one; overrides `placement`."""
    size: Annotated[SidePart, label("Size", "from 0 to 1")] = 196 / 224
    """Longer side of the text, as a share of the image's side."""
    alpha: Annotated[Opacity, label("Blend", "from 0 to 1")] = 0.5
    """Opacity of the trigger."""


@dataclass(frozen=True, kw_only=True)
class CustomPatchOptions(_OfEveryAttack, StrictOptions):
    """Your own patch: a PNG or JPEG in base64, at most 64 KiB and 512 pixels a side.

    `size` is the patch's longer side as a share of the model image's shorter side. A PNG's transparency is
    kept. `at`, if given, overrides `placement`.
    """

    attack: Literal["custom_patch"] = "custom_patch"
    image: Annotated[TriggerImage, label("Image")]
    """The file's bytes in base64, in one line."""
    placement: Annotated[Placement | Literal["four_corners"], label("Placement")] = "random"
    """Where the trigger is placed; random: drawn for each image."""
    at: Annotated[tuple[Share, Share] | None, label("At", "each from 0 to 1", is_advanced=True)] = None
    """[row, column], 0 at the upper or left edge, 1 at the lower or right one; overrides `placement`."""
    size: Annotated[SidePart, label("Size", "from 0 to 1")] = 16 / 224
    """Longer side of the trigger, as a share of the image's side."""
    alpha: Annotated[Opacity, label("Blend", "from 0 to 1")] = 1.0
    """Opacity of the trigger."""


@dataclass(frozen=True, kw_only=True)
class CustomPatternOptions(_OfEveryAttack, StrictOptions):
    """Your own pattern over the whole image: x' = (1 - alpha) x + alpha * image, stretched to the image.

    A PNG or JPEG in base64, at most 64 KiB and 512 pixels a side. A PNG's transparency is kept.
    """

    attack: Literal["custom_pattern"] = "custom_pattern"
    image: Annotated[TriggerImage, label("Image")]
    """The file's bytes in base64, in one line."""
    alpha: Annotated[Opacity, label("Blend", "from 0 to 1")] = 0.2
    """Share of the image in the blend."""


AttackOptions = Annotated[
    BadNetOptions
    | BlendedOptions
    | WaNetOptions
    | SIGOptions
    | LabelConsistentOptions
    | TextTriggerOptions
    | CustomPatchOptions
    | CustomPatternOptions,
    Field(discriminator="attack"),
]

ATTACKS_BY_NAME: tuple[str, ...] = tuple(
    kind.attack
    for kind in get_args(get_args(AttackOptions)[0])
    if all(option.default is not MISSING for option in fields(kind))
)
"""Those whose options all have defaults, so that a name says enough."""

USUAL: tuple[AttackOptions, ...] = (BadNetOptions(), BlendedOptions(), WaNetOptions(), SIGOptions())
"""What an audit tries where it names nothing."""

_NAME_CHARACTERS = 16
"""Of a value in an attack's name: a text may be long."""
_IMAGES = {"custom_patch": "patch", "custom_pattern": "whole image"}
"""Attacks that are an image, and how their names call it."""

SuiteName = Literal["paper", "structured"]
SUITES: dict[SuiteName, tuple[AttackOptions, ...]] = {
    "paper": (BadNetOptions(), BlendedOptions(), WaNetOptions(), LabelConsistentOptions(), SIGOptions()),
    "structured": (
        BadNetOptions(pattern="stripes_redrawn"),
        BlendedOptions(pattern="stripes_redrawn", alpha=0.03),
        BlendedOptions(pattern="triangles", alpha=0.15),
        TextTriggerOptions(),
    ),
}
"""`paper`: CleanCLIP's four attacks (arXiv 2303.03323) and SIG. `structured`: PAR's (arXiv 2412.00727)."""


def without_image(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of an attack as JSON, for a page or a list: size and digest instead of an image."""
    image = options.get("image")
    if not isinstance(image, str):
        return dict(options)
    try:
        data = base64.b64decode(image, validate=True)
    except ValueError:  # an untrusted report may hold anything
        data = image.encode("utf-8", "surrogatepass")
    others = {name: value for name, value in options.items() if name != "image"}
    return others | {"image_bytes": len(data), "image_sha256": hashlib.sha256(data).hexdigest()}


def kind_of(attack: AttackOptions) -> str:
    """What people call it: the attack's name, with PAR's pattern where it has one ("badnet-stripes")."""
    return kind_of_json({"attack": attack.attack, "pattern": getattr(attack, "pattern", "")})


def kind_of_json(options: Mapping[str, Any]) -> str:
    """`kind_of` of options as JSON, as a report repeats them."""
    name, pattern = str(options.get("attack", "")), str(options.get("pattern", "")).partition("_")[0]
    return f"{name}-{pattern}" if pattern in ("stripes", "triangles") else name


def as_patch(attack: LabelConsistentOptions) -> BadNetOptions:
    """The patch that it puts on an image: BadNet's, from BadNet's streams."""
    return BadNetOptions(
        pattern=attack.pattern,
        placement=attack.placement,
        size=attack.size,
        pattern_seed=attack.pattern_seed,
        target=attack.target,
    )


def of_same_pixels(attacks: Iterable[AttackOptions]) -> tuple[tuple[int, ...], ...]:
    """Their numbers, together where their options draw the same on every image, whatever name and target.

    An option that a pattern does not read still tells two apart.
    """
    numbers_of: dict[AttackOptions, list[int]] = {}
    for number, attack in enumerate(attacks):
        drawn = as_patch(attack) if isinstance(attack, LabelConsistentOptions) else attack
        numbers_of.setdefault(replace(drawn, target=None), []).append(number)
    return tuple(map(tuple, numbers_of.values()))


def names_of(attacks: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """A name for every attack of an audit, from its options as JSON: its kind, and where that comes more than
    once the options that tell it from the others ("badnet:size=0.3"). Images, which no option describes, are
    numbered ("pattern 1 (patch)"), and so are those that nothing tells apart ("badnet-2").
    """
    listed = list(attacks)
    kinds = [kind_of_json(attack) for attack in listed]
    seen: dict[str, int] = {}
    names = []
    num_images = 0
    for attack, kind in zip(listed, kinds, strict=True):
        alike = [other for other, its in zip(listed, kinds, strict=True) if its == kind]
        name = ",".join([kind, *_differing(attack, alike)]).replace(",", ":", 1)
        if kind in _IMAGES and len(alike) > 1:
            num_images += 1
            name = f"pattern {num_images} ({_IMAGES[kind]})"
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return tuple(names)


def _differing(attack: Mapping[str, Any], alike: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """ "size=0.3" for every option that is set here and is not alike in all of them."""
    for option, value in without_image(attack).items():
        is_alike = all(without_image(other).get(option) == value for other in alike)
        if value is not None and option != "image_bytes" and not is_alike:
            text = f"{value:g}" if isinstance(value, float) else str(value)
            yield f"{option}={text[:_NAME_CHARACTERS]}"


def attacks_of(suite: SuiteName | None, attacks: tuple[AttackOptions, ...]) -> tuple[AttackOptions, ...]:
    """Those of the suite, those that are listed, or the usual four.

    Raises ValueError if both are given, and if images are more than a job and its report should carry.
    """
    if suite is not None:
        if attacks:
            raise ValueError(f"suite '{suite}' and attacks are both given: name one or the other")
        return SUITES[suite]
    if sum(len(getattr(attack, "image", "")) for attack in attacks) > MAX_TRIGGER_IMAGES_CHARACTERS:
        raise ValueError(
            f"the images of all attacks are more than {2 * MAX_TRIGGER_IMAGE_BYTES // 1024} KiB together: "
            "audit with some of them at a time"
        )
    return attacks or USUAL
