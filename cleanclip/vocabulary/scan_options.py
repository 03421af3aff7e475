"""The options of a scan for triggers that nobody named, with bounds. Free of torch.

The code that obeys them lives in `sanitizer.scans`.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Gt, Interval, Le, Len, MaxLen

from cleanclip.vocabulary.bounds import NOT_EMPTY, NUMBER, STRICT, ShortText, StrictOptions, label

Detector = Literal["collapse", "edits", "residual"]

FamilyName = Literal["patch", "additive", "dct", "blend", "warp", "colour"]
MIN_IMAGES = 64
"""Of each half: fewer show nothing about a universal pattern."""
MIN_SEARCHED = 2 * MIN_IMAGES
"""Labelled images that a search of cleaned weights takes."""
MIN_CLASSES = 3
"""Of two every image is of one or the other: no pattern stands out."""
MAX_FURTHER_CLASSES = 10_000


@dataclass(frozen=True, kw_only=True)
class PatternFamily(StrictOptions):
    """A family of universal patterns and the budget that bounds them."""

    family: FamilyName
    """`patch`: a square. `additive`: a change of every pixel. `dct`: the same with low frequencies only.
    `blend`: an image mixed in. `warp`: a displacement. `colour`: of colours."""
    budget: Annotated[float, Gt(0), Le(1), NUMBER]
    """Of `patch` the side, as a share of the image's side; of `additive` and `dct` the largest change of a
    pixel (8/255 is 0.0314); of `blend` the pattern's share of a pixel; of `warp` the largest displacement,
    as a share of the image's side; of `colour` the largest change of a factor or offset."""
    placement: Literal["random", "fixed"] = "random"
    """Of a patch: a place of its own in every image, or one place in all. Other families have no place."""

    @property
    def name(self) -> str:
        """ "patch:0.25", "patch:0.25:fixed"."""
        fixed = ":fixed" if self.family == "patch" and self.placement == "fixed" else ""
        return f"{self.family}:{self.budget:.4g}{fixed}"

    @property
    def group(self) -> str:
        """Of each group the most conspicuous pattern is measured: the family itself."""
        return self.name


def _refuse_unordered(steps: tuple[int, ...], name: str) -> None:
    if any(later <= earlier for earlier, later in pairwise(steps)):
        raise ValueError(f"{name} must be in ascending order, each once")


def _refuse_repeated(families: tuple[PatternFamily, ...]) -> None:
    if len({family.name for family in families}) < len(families):
        raise ValueError("families must differ from each other")


_Steps = Annotated[int, Interval(ge=1, le=10_000), NUMBER]
_Families = Annotated[tuple[PatternFamily, ...], MaxLen(32), *NOT_EMPTY]
_ImagesPerStep = Annotated[int, Interval(ge=2, le=256), NUMBER]
_EditedImages = Annotated[int, Interval(ge=MIN_IMAGES, le=100_000), NUMBER]


@dataclass(frozen=True, kw_only=True)
class CollapseDetectorOptions(StrictOptions):
    """D2: several restarts for each family, measured on held-out images at fixed steps."""

    families: _Families = (
        PatternFamily(family="patch", budget=0.25),
        PatternFamily(family="patch", budget=0.25, placement="fixed"),
        PatternFamily(family="blend", budget=0.1),
        PatternFamily(family="warp", budget=0.2),
        PatternFamily(family="colour", budget=0.3),
    )
    """Families of patterns, each searched on its own."""
    restarts: Annotated[int, Interval(ge=1, le=64), NUMBER] = 12
    """Patterns for each family, each from noise of its own."""
    images_per_step: _ImagesPerStep = 8
    """Images for each pattern in each step, other ones in every step."""
    steps: Annotated[tuple[_Steps, ...], MaxLen(10), *NOT_EMPTY] = (32,)
    """After how many steps to measure, ascending. The search ends after the last."""

    def __post_init__(self) -> None:
        _refuse_unordered(self.steps, "steps")
        _refuse_repeated(self.families)


@dataclass(frozen=True, kw_only=True)
class ResidualDetectorOptions(StrictOptions):
    """D3: a bank of edits, in all images and in cells of images that are alike to the anchor."""

    cells: Annotated[int, Interval(ge=1, le=256), NUMBER] = 8
    """Cells, each of images that are alike to the anchor."""
    min_cell_images: Annotated[int, Interval(ge=2, le=100_000), NUMBER] = 12
    """Cells with fewer held-out images are left out; all images together always count."""
    held_out_images: _EditedImages = 192
    """Held-out images on which each edit is measured."""


@dataclass(frozen=True, kw_only=True)
class EditsDetectorOptions(StrictOptions):
    """D5: a bank of known edits, each put into the same images."""

    held_out_images: _EditedImages = 192
    """Held-out images on which each edit is measured."""


@dataclass(frozen=True, kw_only=True)
class ScanOptions:
    """Does the model have a trigger that nobody named? Patterns are inverted from it, known edits are tried.

    The default is `collapse` and `edits`, which find different triggers (docs/decisions/0087).
    Every further detector costs a small null power (docs/decisions/0085).
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    detectors: Annotated[tuple[Detector, ...], MaxLen(3), *NOT_EMPTY] = ("collapse", "edits")
    """`collapse`: patterns under which all images look alike. `edits`: which known edit leads many images to
    one class. `residual`: what the model sees in edited images and a trusted anchor does not; needs an
    anchor."""
    collapse: CollapseDetectorOptions = CollapseDetectorOptions()
    """Options of the detector `collapse`."""
    edits: EditsDetectorOptions = EditsDetectorOptions()
    """Options of the detector `edits`."""
    residual: ResidualDetectorOptions = ResidualDetectorOptions()
    """Options of the detector `residual`."""
    num_images: Annotated[int, Interval(ge=MIN_IMAGES, le=100_000), NUMBER] = 256
    """Images of the labelled set to invert patterns on, drawn by the seed."""
    num_held_out: Annotated[int, Interval(ge=MIN_IMAGES, le=100_000), NUMBER] = 384
    """Other images of it, to measure on. If the set has fewer than both together, patterns are inverted on a
    third of it."""
    class_names: Literal["labelled", "none"] = "labelled"
    """Which classes a target can be. `labelled`: those of the labelled set and `further_classes`. `none`: no
    class. Then targets are described by words of the vocabulary only, and there is no ASR."""
    further_classes: Annotated[
        tuple[ShortText, ...], MaxLen(MAX_FURTHER_CLASSES), label("Further classes")
    ] = ()
    """Class names that a target can be although no image of the labelled set has them."""
    vocabulary: bool = True
    """Whether to describe targets by the nearest of 20,000 English nouns, too."""
    templates: Annotated[tuple[Annotated[str, Len(1, 300)], ...], MaxLen(200), *NOT_EMPTY] | None = None
    """Texts of a class; {c} stands for its name. null: those of the labelled set, else the 80 of ImageNet."""
    significance: Annotated[float, Gt(0), Le(0.5), NUMBER] = 0.05
    """A p-value at or under it fails. There is a p-value with a null only."""
    images_at_once: Annotated[int, Interval(ge=2, le=65_536), NUMBER] = 256
    """Images in one pass of the image tower: bounds the memory. Results differ by rounding only."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of the computation: float32 or bfloat16."""
    num_examples: Annotated[int, Interval(ge=0, le=12), NUMBER] = 4
    """Images that the report shows with and without the first pattern."""

    @property
    def families(self) -> tuple[PatternFamily, ...]:
        """That patterns are inverted in."""
        return self.collapse.families if "collapse" in self.detectors else ()

    @property
    def uses_edits(self) -> bool:
        """Whether the bank of edits is tried, by one detector or two."""
        return "edits" in self.detectors or "residual" in self.detectors

    @staticmethod
    def usual_detectors(*, has_anchor: bool) -> tuple[Detector, ...]:
        """The default's, and the one that an anchor is for."""
        return (*ScanOptions.detectors, "residual") if has_anchor else ScanOptions.detectors

    def __post_init__(self) -> None:
        if len(set(self.detectors)) < len(self.detectors):
            raise ValueError("detectors must differ from each other")
        if self.class_names == "none":
            if self.further_classes:
                raise ValueError("further_classes needs class_names 'labelled'")
            if not self.vocabulary:
                raise ValueError("without class names and without the vocabulary no target can be named")
