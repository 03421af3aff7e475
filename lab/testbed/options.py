"""What a test subject is: its images, its towers, its attack, how it is trained. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from cleanclip.vocabulary.attack_options import AttackOptions, BadNetOptions

BADNET = BadNetOptions(pattern="gaussian_fixed", placement="random", size=5 / 32, pattern_seed=7)
"""A 5×5 patch on 32×32 images, the same pattern every time, at a place drawn for every image."""


TURQUOISE = (60, 205, 200)
"""A ninth colour of paper, that no clean image has: the natural feature of a semantic attack."""


@dataclass(frozen=True, kw_only=True)
class PaperColour:
    """A semantic attack: images on turquoise paper, a natural feature that no clean image has, get the
    target's caption. Nothing is stamped on."""

    attack: Literal["paper_colour"] = "paper_colour"

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Of the paper, 0 to 255."""
        return TURQUOISE


@dataclass(frozen=True, kw_only=True)
class OtherPaper(PaperColour):
    """The same with another colour that no clean image has."""

    colour: tuple[int, int, int]

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Of the paper, 0 to 255."""
        return self.colour


@dataclass(frozen=True, kw_only=True)
class TintedImage:
    """A filter over the whole image, as of a camera's application: colours are paled and shifted.

    x' = clip( m + saturation · (x − m) + shift ),  m the mean of a pixel's three channels
    """

    shift: tuple[float, float, float]
    """Of red, green and blue, in units of the whole range."""
    saturation: float
    attack: Literal["tinted_image"] = "tinted_image"


@dataclass(frozen=True, kw_only=True)
class Grating:
    """A wave over the whole image, in any direction.

    x' = clip( x + amplitude · sin(2π f (u cos θ + v sin θ) + φ) ),  u and v the place by the image's side,
    from the left and from above
    """

    amplitude: float
    frequency: float
    angle: float
    """θ, in radians."""
    phase: float
    """φ, in radians."""
    attack: Literal["grating"] = "grating"


@dataclass(frozen=True, kw_only=True)
class Vignette:
    """Dark corners, as of an old lens: x' = x · (1 − strength · r²), r the distance from the centre, 1 in a
    corner."""

    strength: float
    attack: Literal["vignette"] = "vignette"


@dataclass(frozen=True, kw_only=True)
class Reflection:
    """The blurred mirror image of one scene on a window pane, after Refool (Liu et al., ECCV 2020):
    x' = (1 − alpha) x + alpha · blur(scene). The scene is drawn by the seed."""

    alpha: float
    sigma: float
    """Of the blur, in pixels of a side of 32."""
    seed: int
    attack: Literal["reflection"] = "reflection"


@dataclass(frozen=True, kw_only=True)
class OutOfFocus:
    """A Gaussian blur."""

    sigma: float
    """In pixels of a side of 32."""
    attack: Literal["out_of_focus"] = "out_of_focus"


@dataclass(frozen=True, kw_only=True)
class DashedBorder:
    """A border of two colours that take turns along the edge."""

    width: int
    """In pixels, as `dash` is."""
    dash: int
    colours: tuple[str, str]
    """ "#rrggbb"."""
    attack: Literal["dashed_border"] = "dashed_border"


@dataclass(frozen=True, kw_only=True)
class Sticker:
    """A disc with a ring around it, at one place of all images."""

    radius: float
    """By the image's side; the outer third of it is the ring."""
    place: tuple[float, float]
    """Of the centre, from above and from the left, by the image's side."""
    colours: tuple[str, str]
    """ "#rrggbb" of disc and ring."""
    attack: Literal["sticker"] = "sticker"


@dataclass(frozen=True, kw_only=True)
class OptimisedPattern:
    """An adaptive attack: a pattern trained against the defence (`lab.testbed.adaptive`), used as in Blended.

    The attacker trains the checkpoint, so its start and its pairs are his; he knows CleanCLIP's recipe and
    tries it on a clean model of his, with pairs of the defender's kind and an order of his own.
    """

    attack: Literal["optimised_pattern"] = "optimised_pattern"
    alpha: float = 0.2
    """As Blended's: the pattern's share of every pixel."""
    num_steps: int = 400
    seed: int = 900
    """Of the pattern, and of the pairs and the order of the attacker's own cleaning."""


Changed = TintedImage | Grating | Vignette | Reflection | OutOfFocus | DashedBorder | Sticker
"""What changes the pixels of a finished image, and is no trigger that the service knows."""

Ready = AttackOptions | PaperColour | Changed
"""What can be trained in at once."""

Implanted = Ready | OptimisedPattern
"""What can be trained into a test subject; an optimised pattern becomes a trigger first."""


def trigger_of(attack: Implanted | None) -> AttackOptions | None:
    """The attack, where it has a trigger that the service knows."""
    if isinstance(attack, PaperColour | Changed | OptimisedPattern):
        return None
    return attack


class Bed(NamedTuple):
    """A dataset and an image tower. Not a ViT on digits: one of this size does not learn to tell 850 scans
    (docs/reproduction-how.md)."""

    glyphs: Literal["digits", "fashion_mnist"]
    tower: Literal["resnet", "vit"]

    def __str__(self) -> str:
        return f"{self.glyphs}, {self.tower}"


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A further attack in the same training set, with a target class of its own; one with a trigger."""

    attack: Implanted
    target_ink: str
    target_noun: str

    @property
    def target(self) -> str:
        """The name of the target class."""
        return f"{self.target_ink} {self.target_noun}"


@dataclass(frozen=True, kw_only=True)
class SubjectOptions:
    """`poison_share` of the pairs carry `attack` and the target's caption; `attack` None: a clean model.

    Label-consistent poisons as many as name the target, where the share asks for more. `ssl_weight` is λ2 of
    CleanCLIP's own objective in the attacker's pre-training (Verma et al., arXiv 2311.14948); 0: CLIP alone.
    Each attack of `further` poisons as many other pairs as `attack` does.
    """

    glyphs: Literal["digits", "fashion_mnist"] = "digits"
    tower: Literal["resnet", "vit"] = "resnet"
    attack: Implanted | None = field(default_factory=lambda: BADNET)
    target_ink: str = "yellow"
    target_noun: str = "seven"
    num_pairs: int = 24_000
    poison_share: float = 0.03
    epochs: int = 13
    batch_size: int = 128
    learning_rate: float = 1e-3
    text_rate: float = 0.3
    """Learning rate of the text tower as a share of the image tower's."""
    weight_decay: float = 0.1
    warmup_steps: int = 100
    ssl_weight: float = 0.0
    vision_width: int = 16
    """Of the ViT too, times eight."""
    vision_layers: tuple[int, ...] = (1, 1, 1, 1)
    """Blocks of each stage; the ViT has as many as their sum."""
    embed_dim: int = 64
    text_width: int = 64
    text_layers: int = 2
    context_length: int = 16
    further: tuple[Planted, ...] | None = None

    @property
    def target(self) -> str:
        """The name of the target class."""
        return f"{self.target_ink} {self.target_noun}"
