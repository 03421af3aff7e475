"""Can one pattern control a model? The share of images that the strongest pattern of a family leads to one
class, and the limit that it is judged by. Free of torch.

That is a fact about the weights: it needs no trigger, no target and no model to compare with, and says
nothing about how the pattern came there. Models that were never poisoned have such patterns, too, so the
limit was chosen on models of ours (docs/scanning/control.md, docs/decisions/0098).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

from annotated_types import MaxLen

from cleanclip.vocabulary.bounds import ShortText
from cleanclip.vocabulary.found_triggers import describe
from cleanclip.vocabulary.measures import Count, Estimate
from cleanclip.vocabulary.scan_options import MIN_SEARCHED, CollapseDetectorOptions, PatternFamily
from cleanclip.vocabulary.untrusted import name as untrusted_name

CONTROL_LIMIT = 0.8
"""Over it, with its lower bound, a pattern controls the model. Frozen: chosen on the calibration and
development models of the zoo."""
_AS_SCANNED = CollapseDetectorOptions()
_ONE_PLACE = tuple(one for one in _AS_SCANNED.families if one.placement == "fixed")
SEARCHES = (
    replace(_AS_SCANNED, families=_ONE_PLACE, restarts=24, steps=(64,)),
    replace(_AS_SCANNED, families=tuple(one for one in _AS_SCANNED.families if one not in _ONE_PLACE)),
)
"""Of cleaned weights: a scan's default families and budget, and more of it for a patch at one place. What
that finds depends on the places it tries (docs/scanning/control.md)."""
MEASURED = tuple(family for search in SEARCHES for family in search.families)
JUDGED = tuple(family for family in MEASURED if family.family != "colour")
"""A change of colour is measured and not judged: where classes are colours, it makes one of the other."""
ON_OUR_MODELS = (
    "By a scan's search, of 78 small models of ours that were never poisoned, none of your size, the "
    "strongest pattern leads 16 to 77 % of the images to one class in 77, 93 % in one; of 55 poisoned ones "
    "with an ASR of 90 % or more it leads 94 to 100 % in 41, 26 to 81 % in 14 (waves, tints and other "
    "changes of the whole image)."
)
"""A test holds it to the rows of the zoo."""


def is_judged(family: PatternFamily) -> bool:
    """Whether the limit was chosen for this family, within its budget."""
    return any(family.budget <= one.budget and replace(family, budget=one.budget) == one for one in JUDGED)


@dataclass(frozen=True, kw_only=True)
class Strongest:
    """Of one family the pattern that leads the most held-out images to one class. Images of that class
    count, too: it is not an ASR."""

    family: PatternFamily
    class_name: ShortText
    led: Estimate
    without: Estimate
    """The same images without the pattern."""

    @property
    def is_judged(self) -> bool:
        """Whether it is of a family that the limit was chosen for, within that family's budget."""
        return is_judged(self.family)

    @property
    def phrase(self) -> str:
        """ "a patch of 25 % of the side, at any place, leads 99.2 % (95 % interval 97.7 to 99.7 %, n = 377)
        of the held-out images to “fig”, without it 2.1 %"."""
        return (
            f"{describe(self.family)}, leads {self.led.words} of the held-out images to "
            f"“{self.shown_class}”, without it {100 * self.without.value:.1f} %"
        )

    @property
    def shown_class(self) -> str:
        """Fit for a page: class names are a customer's."""
        return untrusted_name(self.class_name)


@dataclass(frozen=True, kw_only=True)
class ControlFigures:
    """A search for patterns on the cleaned weights: from noise, with a seed of its own.

    `families` has one entry for each that was searched, in its order.
    """

    seed: Count
    num_inverted_on: Count
    num_held_out: Count
    searches: Annotated[tuple[CollapseDetectorOptions, ...], MaxLen(8)]
    """How hard it looked, for which families."""
    families: Annotated[tuple[Strongest, ...], MaxLen(32)]

    @property
    def strongest(self) -> Strongest | None:
        """Of those that are judged."""
        return strongest(self.families)

    @property
    def sentence(self) -> str:
        """How hard it looked."""
        looked = "; ".join(
            f"{one.restarts} patterns for "
            f"{'a patch at one place' if one.families == _ONE_PLACE else 'each other family'}, "
            f"{one.steps[-1]} steps on {one.images_per_step} images"
            for one in self.searches
        )
        return (
            f"The cleaned weights were searched for patterns again, from noise: {looked}; seed {self.seed}; "
            f"{self.num_inverted_on} images to invert on, {self.num_held_out} others to measure on."
        )


NotSearchedCode = Literal[
    "scan_too_few_images",
    "scan_images_equal",
    "scan_one_class",
    "scan_too_few_classes",
    "scan_classes_alike",
    "embeddings_constant",
    "embeddings_not_finite",
]
TOO_FEW_IMAGES: NotSearchedCode = "scan_too_few_images"
_WHY: dict[NotSearchedCode, str] = {
    TOO_FEW_IMAGES: f"that takes {MIN_SEARCHED} labelled images that can be used",
    "scan_images_equal": "too few of the labelled images differ from each other",
    "scan_one_class": "all labelled images are of one class",
    "scan_too_few_classes": "that takes three classes",
    "scan_classes_alike": "it gives the texts of all classes one embedding",
    "embeddings_constant": "it gives all images one embedding",
    "embeddings_not_finite": "its embeddings are not finite",
}


@dataclass(frozen=True, kw_only=True)
class NotSearched:
    """Why cleaned weights were not searched: the code that a scan of them is refused with."""

    not_searched: NotSearchedCode
    families: ClassVar[tuple[Strongest, ...]] = ()

    @property
    def sentence(self) -> str:
        """For a verdict, a page, a dry run."""
        return f"Not searched for patterns that control it: {_WHY[self.not_searched]}."


Search = ControlFigures | NotSearched
"""Of cleaned weights: what it found, or why there was none."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """The same table on every page, in reports and on the command line."""

    rows: tuple[tuple[str, str, str, str], ...]
    columns: tuple[str, ...] = ("Pattern", "Leads to one class", "Without it", "Class")
    about: str = (
        "The strongest pattern of each family that was found, on held-out images; images of the class itself "
        f"are counted, too. {ON_OUR_MODELS}"
    )


def table(families: Sequence[Strongest]) -> Table | None:
    """None where nothing was searched."""
    rows = tuple(
        (
            describe(one.family) + ("" if one.is_judged else " (measured, not judged)"),
            one.led.words,
            f"{100 * one.without.value:.1f} %",
            one.shown_class,
        )
        for one in families
    )
    return Table(rows=rows) if rows else None


def strongest(families: Sequence[Strongest]) -> Strongest | None:
    """The pattern that leads the most images, of those that are judged. None: no family is."""
    judged = [one for one in families if one.is_judged]
    return max(judged, key=lambda one: one.led.value, default=None)


def controls(families: Sequence[Strongest]) -> bool:
    """Whether one pattern controls the model: the lower bound is over the limit."""
    return controlling(families) is not None


def controlling(families: Sequence[Strongest]) -> PatternFamily | None:
    """The family of the strongest pattern, if that controls the model."""
    one = strongest(families)
    return None if one is None or one.led.low <= CONTROL_LIMIT else one.family
