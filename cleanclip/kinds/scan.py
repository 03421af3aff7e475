"""Look for a trigger that nobody named, and change nothing."""

from collections.abc import Iterator, Mapping, Sequence

from cleanclip.kinds.facts import Facts
from cleanclip.kinds.kind import (
    ANCHOR,
    MAX_REPORT_BYTES,
    SETTLING_PASSES,
    SUSPECT,
    VERDICT_FOLLOWS,
    Kind,
    anchor,
    check_anchor,
    labelled,
)
from cleanclip.kinds.phase import Load, Phase, counted
from cleanclip.vocabulary.anchors import of_options
from cleanclip.vocabulary.clip_text import num_different
from cleanclip.vocabulary.device_plan import CAPTION_SHARE
from cleanclip.vocabulary.errors import DatasetRejected, OptionsRejected, SanitizerError
from cleanclip.vocabulary.jobspec import MAX_SCAN_STATE_BYTES, REPORT_NAME, ScanSpec
from cleanclip.vocabulary.model_cost import ModelCost
from cleanclip.vocabulary.recipe import AuditPrecision
from cleanclip.vocabulary.scan_cost import WORDS_OF_A_SCAN, num_ascents, num_passes
from cleanclip.vocabulary.scan_options import MIN_CLASSES, MIN_IMAGES, ScanOptions
from cleanclip.vocabulary.templates import check_templates

LABELLED = labelled(
    "scan",
    about=f"Clean images with the classes that a trigger may lead to. At least {2 * MIN_IMAGES}.",
)
USE_OF_ANCHOR = "The scan then compares what both see in edited images, too (detector residual)."


def check(facts: Facts) -> Iterator[SanitizerError]:
    yield from check_templates(facts.options.templates, where="scan.templates")
    yield from of_options(facts.options, has_anchor=ANCHOR in facts.named)
    yield from check_anchor(facts)
    known = facts.data.get(LABELLED.column)
    if known is not None and known.class_names is not None:
        yield from check_names(facts.options, known.class_names)
    if known is not None:
        yield from check_images(known.num_good, known.num_classes_used)


def scanned_names(options: ScanOptions, names: Sequence[str]) -> tuple[str, ...]:
    """The class list of a scan: the labelled set's, then the further ones. Empty where there is none."""
    return () if options.class_names == "none" else (*names, *options.further_classes)


def check_names(options: ScanOptions, names: Sequence[str]) -> Iterator[OptionsRejected]:
    """`names`: the classes of the labelled set."""
    if options.class_names == "none":
        return
    known = frozenset(names)
    if repeated := next((name for name in options.further_classes if name in known), None):
        yield OptionsRejected(
            "scan_class_repeated",
            f"The labelled dataset has a class '{repeated[:60]}' already.",
            "Leave it out of further_classes.",
            where="scan.further_classes",
        )
    if (num := num_different(scanned_names(options, names))) < MIN_CLASSES:
        yield OptionsRejected(
            "scan_too_few_classes",
            f"There are {num} different class names; with fewer than {MIN_CLASSES} no target stands out.",
            "Name further classes in further_classes: any that images of yours could have.",
            where="scan.further_classes",
        )


def check_images(num: int | None, num_classes: int | None) -> Iterator[DatasetRejected]:
    """How many can be used, and of how many classes they are."""
    if num is not None and num < 2 * MIN_IMAGES:
        yield DatasetRejected(
            "scan_too_few_images",
            f"A scan needs {MIN_IMAGES} images to invert on and {MIN_IMAGES} others to measure on; the "
            f"labelled dataset has {num} that can be used.",
            f"Use a labelled dataset of at least {2 * MIN_IMAGES} images.",
            where="labelled_dataset_id",
        )
    if num_classes is not None and num_classes < 2:
        yield DatasetRejected(
            "scan_one_class",
            "All images of the labelled dataset are of one class, which a model gives one place anyway.",
            "Use a labelled dataset with images of several classes.",
            where="labelled_dataset_id",
        )


def most_passes(spec: ScanSpec, sizes: Mapping[str, int]) -> int:
    labelled_images = sizes.get("labelled", 0)
    searching = 3 * (num_passes(spec.scan, labelled_images) or 0)
    return searching + WORDS_OF_A_SCAN + labelled_images * SETTLING_PASSES


class Scanning(Phase):
    """Detectors, and what they found on held-out images."""

    def sentence(self, load: Load) -> str:
        scan: ScanOptions = load.parts["scan"]
        if (passes := self.amount(load)) is None:
            return "Looks for triggers in the model; how long depends on the number of classes."
        among = "" if not load.num_classes else f" for {counted(load.num_classes, 'class', 'classes')}"
        return (
            f"Looks for triggers in the model by {counted(len(scan.detectors), 'detector')}{among} "
            f"({', '.join(scan.detectors)}): {passes:,} images forward and backward, at most; then measures "
            "the best on held-out images."
        )

    def amount(self, load: Load) -> int | None:
        return num_passes(load.parts["scan"], load.num_labelled)

    def flop(self, load: Load, cost: ModelCost) -> float | None:
        scan: ScanOptions = load.parts["scan"]
        if (amount := self.amount(load)) is None:
            return None
        searches = (scan.collapse,) if "collapse" in scan.detectors else ()
        texts = load.num_prompts(scan.templates) + (WORDS_OF_A_SCAN if scan.vocabulary else 0)
        return cost.image.flop * (3 * amount - num_ascents(searches)) + texts * CAPTION_SHARE * cost.text.flop

    def precision(self, load: Load) -> AuditPrecision:
        scan: ScanOptions = load.parts["scan"]
        return scan.precision


SCANNING = Scanning(name="scan", title="Look for triggers", unit="passes")
SCAN = Kind(
    name="scan",
    title="Scan",
    about=(
        "Look for a trigger that nobody named: patterns are inverted from the model, and compared with those "
        "of models that were never poisoned."
    ),
    page="scans",
    then_clean=("scan", "Clean, judged on what was found"),
    computes=(SCANNING,),
    is_resumable=True,
    inputs=(SUSPECT, LABELLED, anchor("scan", USE_OF_ANCHOR)),
    options=ScanOptions,
    usual=lambda part: {"detectors": ScanOptions.usual_detectors(has_anchor=ANCHOR in part)},
    shows=VERDICT_FOLLOWS,
    finds_triggers=True,
    judges=True,
    engine="sanitizer.work.scanning",
    spec=ScanSpec,
    check=check,
    most_passes=most_passes,
    leaves={REPORT_NAME: MAX_REPORT_BYTES},
    max_state_bytes=MAX_SCAN_STATE_BYTES,
)
