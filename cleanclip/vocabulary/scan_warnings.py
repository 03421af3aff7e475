"""What a scan's report warns of: every sentence follows from counts, options and names. Free of torch."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cleanclip.vocabulary.bounds import ShortText
from cleanclip.vocabulary.clip_text import as_clip_reads
from cleanclip.vocabulary.measures import Count
from cleanclip.vocabulary.null_set import NullUsed
from cleanclip.vocabulary.scan_options import ScanOptions
from cleanclip.vocabulary.settled import SettledArchitecture
from cleanclip.vocabulary.settled import warnings as of_settings

NEAR_COSINE = 0.9
"""Of two class texts: above it a scan warns that a pattern to one class leads near the other."""
AT_CHANCE = (
    "The model names these images no better than guessing does: its heads and activation were not checked by "
    "them, and PA says nothing."
)


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What the warnings follow from, beside what the report says anyway."""

    settled: SettledArchitecture | None
    """What tensors do not say, measured on images. None: the model names them no better than guessing does,
    and it was scanned as it was read."""
    anchor_settled: SettledArchitecture | None = None
    num_enlarged: Count = 0
    """Images that have fewer pixels than the model takes."""
    num_near: Count = 0
    """Pairs of class names whose texts have a cosine above `NEAR_COSINE`."""
    repeated: ShortText | None = None
    """The first class name that occurs more than once, as CLIP reads it."""
    num_repeated: Count = 0
    """Class names that occur more than once."""


def repeated_names(class_names: Sequence[str]) -> list[str]:
    """Those that occur more than once, as CLIP reads them."""
    counts = Counter(map(as_clip_reads, class_names))
    return [name for name, num in sorted(counts.items()) if num > 1]


def scan_warnings(
    conditions: Conditions,
    options: ScanOptions,
    *,
    num_images: int,
    num_skipped: int,
    has_anchor: bool,
    null: NullUsed | None,
    code_version: str,
) -> Iterator[str]:
    """`num_images`: that were used."""
    yield from _of_settings(conditions.settled)
    if has_anchor:
        for warning in _of_settings(conditions.anchor_settled):
            yield f"The anchor: {warning}"
    if num_images < options.num_images + options.num_held_out:
        yield (
            f"The labelled set has {num_images} usable images, fewer than the {options.num_images} to invert "
            f"on and {options.num_held_out} to measure on that the options ask for: intervals are wider."
        )
    if num_skipped:
        yield f"{num_skipped} labelled samples were bad and left out."
    if conditions.num_enlarged > num_images / 2:
        yield (
            f"{conditions.num_enlarged} of {num_images} images have fewer pixels than the model takes and "
            "were enlarged: patterns are inverted on images unlike those that the model was trained on."
        )
    if num := conditions.num_repeated:
        yield (
            f"The class name '{conditions.repeated}' occurs more than once: its classes are taken for one "
            "target."
            if num == 1
            else f"{num} class names occur more than once, '{conditions.repeated}' among them: those of "
            "one name are taken for one target."
        )
    if num := conditions.num_near:
        yield (
            f"{num} {'pair' if num == 1 else 'pairs'} of class names have nearly the same text "
            f"embedding (cosine above {NEAR_COSINE:g}): do not read the classes of a pair "
            "as rivals, for a pattern that leads to one leads near the other."
        )
    if null is not None and null.code_version != code_version:
        yield (
            f"The null set '{null.name}' was measured by version {null.code_version} of this code, and the "
            "scan by another: a change between them can set the model apart as well. Build the null again "
            "with this version."
        )


def _of_settings(settled: SettledArchitecture | None) -> Iterator[str]:
    return iter((AT_CHANCE,)) if settled is None else of_settings(settled)
