"""The options of a scan for triggers that nobody named, with bounds. Free of torch.

The code that obeys them lives in `sanitizer.scans`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Gt, Interval, Le, Len, MaxLen

from cleanclip.spec.bounds import NOT_EMPTY, NUMBER, STRICT, ShortText, StrictOptions

Detector = Literal["collapse", "edits", "ease", "residual", "lineage"]
"""`collapse`: patterns under which all images look alike. `edits`: which known change of an image leads many
images to one class. `ease`: how little it takes to lead images to each class. `residual`: what the model sees
in edited images and a trusted anchor does not. `lineage`: whether predictions collapse when the step from the
base to this model is made longer."""

FamilyName = Literal["patch", "additive", "dct", "blend", "warp", "colour"]
MIN_IMAGES = 64
"""Of each half: fewer show nothing about a universal pattern."""
MAX_FURTHER_CLASSES = 10_000


@dataclass(frozen=True, kw_only=True)
class PatternFamily(StrictOptions):
    """A family of universal patterns and the budget that bounds them.

    `budget`: of `patch` the side by the image's side; of `additive` and `dct` the largest change of a pixel
    (8/255 is 0.0314), `dct` with low frequencies only; of `blend` the pattern's share of a pixel; of `warp`
    the largest displacement by the image's side; of `colour` the largest change of a factor or offset.
    """

    family: FamilyName
    budget: Annotated[float, Gt(0), Le(1), NUMBER]
    placement: Literal["random", "fixed"] = "random"
    """Of a patch: a place of its own in every image, or one place in all. Others have no place."""

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
    restarts: Annotated[int, Interval(ge=1, le=64), NUMBER] = 12
    images_per_step: Annotated[int, Interval(ge=2, le=256), NUMBER] = 8
    """For each restart, others in every step."""
    steps: Annotated[tuple[_Steps, ...], MaxLen(10), *NOT_EMPTY] = (32,)
    """After how many steps to measure, in ascending order."""

    def __post_init__(self) -> None:
        _refuse_unordered(self.steps, "steps")
        _refuse_repeated(self.families)


@dataclass(frozen=True, kw_only=True)
class Heat(StrictOptions):
    """A part of the race: so many of the classes that are left stay, up to `steps` steps in all. The first
    has all classes, whatever it says."""

    share: Annotated[float, Gt(0), Le(1), NUMBER]
    most: Annotated[int, Interval(ge=1, le=100_000), NUMBER]
    steps: _Steps


@dataclass(frozen=True, kw_only=True)
class EaseDetectorOptions(StrictOptions):
    """D1: a race of all classes in each family; the schedule is the same for every model.

    A class's ease is its mean held-out ASR at `steps`; a class that left the race keeps its last value there.
    """

    families: _Families = (
        PatternFamily(family="patch", budget=0.1875),
        PatternFamily(family="patch", budget=0.25, placement="fixed"),
        PatternFamily(family="additive", budget=0.03137),
        PatternFamily(family="dct", budget=0.03137),
        PatternFamily(family="blend", budget=0.1),
        PatternFamily(family="warp", budget=0.06),
        PatternFamily(family="colour", budget=0.3),
    )
    heats: Annotated[tuple[Heat, ...], MaxLen(8), *NOT_EMPTY] = (
        Heat(share=1.0, most=100_000, steps=8),
        Heat(share=0.25, most=1_000, steps=16),
        Heat(share=1.0, most=4, steps=64),
    )
    restarts: Annotated[int, Interval(ge=1, le=64), NUMBER] = 2
    """From how many starts the classes of the last heat are run; the best counts."""
    images_per_step: Annotated[int, Interval(ge=2, le=256), NUMBER] = 8
    held_out_images: Annotated[int, Interval(ge=MIN_IMAGES, le=100_000), NUMBER] = 64
    """On which ASR is measured in the course of the race."""
    steps: Annotated[tuple[_Steps, ...], MaxLen(10), *NOT_EMPTY] = (4, 8, 16, 32, 64)
    synonyms_cosine: Annotated[float, Interval(ge=0, le=1), NUMBER] = 0.9
    """Classes whose texts are closer than this are not rivals of each other."""
    anchor_weight: Annotated[float, Interval(ge=0, le=100), NUMBER] = 1.0
    """γ: how much it counts against a pattern that it leads the anchor to the class, too. It has no effect
    without an anchor."""

    def __post_init__(self) -> None:
        _refuse_unordered(self.steps, "steps")
        _refuse_repeated(self.families)
        for earlier, later in pairwise(self.heats):
            if later.steps < earlier.steps:
                raise ValueError("a later heat must have at least as many steps as an earlier one")
        if self.steps[-1] > self.heats[-1].steps:
            raise ValueError("steps go past the last heat")


@dataclass(frozen=True, kw_only=True)
class ResidualDetectorOptions(StrictOptions):
    """D3: a bank of edits, in all images and in cells of images that are alike to the anchor."""

    cells: Annotated[int, Interval(ge=1, le=256), NUMBER] = 8
    min_cell_images: Annotated[int, Interval(ge=2, le=100_000), NUMBER] = 12
    """Cells with fewer held-out images are left out; all images together always count."""
    held_out_images: Annotated[int, Interval(ge=MIN_IMAGES, le=100_000), NUMBER] = 192
    """On which each edit is measured."""


@dataclass(frozen=True, kw_only=True)
class EditsDetectorOptions(StrictOptions):
    """D5: a bank of known edits, each put into the same images."""

    held_out_images: Annotated[int, Interval(ge=MIN_IMAGES, le=100_000), NUMBER] = 192
    """On which each edit is measured."""


@dataclass(frozen=True, kw_only=True)
class LineageDetectorOptions(StrictOptions):
    """D4: the model's step from its base, made longer by each factor."""

    factors: Annotated[tuple[Annotated[float, Gt(1), Le(16), NUMBER], ...], MaxLen(10), *NOT_EMPTY] = (
        1.5,
        2.0,
        3.0,
    )

    def __post_init__(self) -> None:
        if any(later <= earlier for earlier, later in pairwise(self.factors)):
            raise ValueError("factors must be in ascending order, each once")


@dataclass(frozen=True, kw_only=True)
class ScanOptions:
    """Does the model have a trigger that nobody named? Patterns are inverted from it, known edits are tried.

    The default is `collapse` and `edits`, which find different triggers (docs/decisions/0087). `ease` costs
    six times as much as `collapse` and found nothing that it missed, and every further detector costs a small
    null power (docs/decisions/0085).
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    detectors: Annotated[tuple[Detector, ...], MaxLen(5), *NOT_EMPTY] = ("collapse", "edits")
    """`residual` needs an anchor, `lineage` a base."""
    collapse: CollapseDetectorOptions = CollapseDetectorOptions()
    edits: EditsDetectorOptions = EditsDetectorOptions()
    ease: EaseDetectorOptions = EaseDetectorOptions()
    residual: ResidualDetectorOptions = ResidualDetectorOptions()
    lineage: LineageDetectorOptions = LineageDetectorOptions()
    num_images: Annotated[int, Interval(ge=MIN_IMAGES, le=100_000), NUMBER] = 256
    """To invert on, drawn by the seed from the labelled set."""
    num_held_out: Annotated[int, Interval(ge=MIN_IMAGES, le=100_000), NUMBER] = 384
    """Others, to measure on. Of fewer than both together, a third is inverted on."""
    class_names: Literal["labelled", "none"] = "labelled"
    """Targets are looked for among the names of the labelled set and `further_classes`, or not at all."""
    further_classes: Annotated[tuple[ShortText, ...], MaxLen(MAX_FURTHER_CLASSES)] = ()
    """Names that no image of the labelled set has."""
    vocabulary: bool = True
    """Whether to name targets by the open vocabulary of English words, too."""
    templates: Annotated[tuple[Annotated[str, Len(1, 300)], ...], MaxLen(200), *NOT_EMPTY] | None = None
    """For the texts of classes. None: those of the labelled set, else ImageNet's 80."""
    significance: Annotated[float, Gt(0), Le(0.5), NUMBER] = 0.05
    """A p-value at or under it fails; there is one with a null only."""
    images_at_once: Annotated[int, Interval(ge=2, le=65_536), NUMBER] = 256
    """In one pass of the image tower: bounds the memory. It changes no result but by rounding."""
    precision: Literal["fp32", "bf16"] = "fp32"
    num_examples: Annotated[int, Interval(ge=0, le=12), NUMBER] = 4
    """Images that the report shows with and without the first trigger."""

    @property
    def families(self) -> tuple[PatternFamily, ...]:
        """Of the detectors that invert patterns, one after the other."""
        inverting = {"collapse": self.collapse.families, "ease": self.ease.families}
        return tuple(family for name in self.detectors for family in inverting.get(name, ()))

    @property
    def uses_edits(self) -> bool:
        """Whether the bank of edits is tried, by one detector or two."""
        return "edits" in self.detectors or "residual" in self.detectors

    @property
    def uses_anchor(self) -> bool:
        """Whether an anchor would change a figure."""
        return "residual" in self.detectors or ("ease" in self.detectors and self.ease.anchor_weight > 0)

    @staticmethod
    def usual_detectors(*, has_anchor: bool, has_base: bool) -> tuple[Detector, ...]:
        """The default's, and those that an anchor and a base are for."""
        added: tuple[tuple[Detector, bool], ...] = (("residual", has_anchor), ("lineage", has_base))
        return (*ScanOptions.detectors, *(name for name, is_needed in added if is_needed))

    def __post_init__(self) -> None:
        if len(set(self.detectors)) < len(self.detectors):
            raise ValueError("detectors must differ from each other")
        if self.class_names == "none":
            if self.further_classes:
                raise ValueError("further_classes needs class_names 'labelled'")
            if "ease" in self.detectors:
                raise ValueError("the detector 'ease' needs class names")
            if not self.vocabulary:
                raise ValueError("without class names and without the vocabulary no target can be named")
