"""Look for words that lead texts of every class to one class, and change nothing."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from cleanclip.kinds.facts import Data, Facts
from cleanclip.kinds.kind import MAX_REPORT_BYTES, SUSPECT, Kind, labelled
from cleanclip.kinds.phase import Load, Phase, counted
from cleanclip.vocabulary.clip_text import num_different
from cleanclip.vocabulary.clip_tokens import NUM_TOKENS
from cleanclip.vocabulary.device_plan import CAPTION_SHARE
from cleanclip.vocabulary.errors import CheckpointRejected, OptionsRejected, SanitizerError
from cleanclip.vocabulary.jobspec import REPORT_NAME, SearchSpec
from cleanclip.vocabulary.model_cost import ModelCost
from cleanclip.vocabulary.text_scan_options import MIN_CLASSES, TextScanOptions
from cleanclip.vocabulary.text_scan_report import DOES_NOT_SHOW, NUM_NAMED_FINE, TextScanReport

LABELLED = labelled(
    "text_scan",
    about=f"Clean images of at least {MIN_CLASSES} classes. A class is the mean embedding of its images.",
)


@dataclass(frozen=True, kw_only=True)
class TextScanSpec(SearchSpec):
    """Look for words that control the text tower, with the classes and images of `inputs/labelled`."""

    kind: Literal["text_scan"] = "text_scan"
    text_scan: TextScanOptions


def check(facts: Facts) -> Iterator[SanitizerError]:
    model = facts.models.get(SUSPECT.column)
    if model is not None and model.option("text_cfg", "hf_tokenizer_name") is not None:
        yield CheckpointRejected(
            "text_scan_tokenizer",
            "The text tower does not use CLIP's tokenizer, whose tokens a text scan inserts.",
            "Scan the images of this model instead.",
            where=SUSPECT.column,
        )
    names = facts.data.get(LABELLED.column, Data()).class_names
    if names is not None and (num := num_different(names)) < MIN_CLASSES:
        yield few_classes(f"The labelled dataset has {num} different class names.")


def few_classes(message: str) -> OptionsRejected:
    """`message`: how many there are, in a sentence."""
    return OptionsRejected(
        "text_scan_too_few_classes",
        f"{message} With fewer than {MIN_CLASSES} no class stands out.",
        "Use a labelled dataset of more classes.",
        where=LABELLED.column,
    )


def num_texts(options: TextScanOptions) -> int:
    """That are embedded at most: each is a token or a trigger in another text."""
    measured = 1 + len(options.trigger_words)
    if not options.search:
        return measured * options.num_texts
    measured += options.num_fine + NUM_NAMED_FINE
    return measured * options.num_texts + NUM_TOKENS * options.num_screen_texts


def most_passes(spec: TextScanSpec, sizes: Mapping[str, int]) -> int:
    """Of images for the class means, and of texts."""
    return min(sizes.get("labelled", 0), spec.text_scan.num_images) + num_texts(spec.text_scan)


class TextScanning(Phase):
    """Class means of images, and texts with a token or a trigger in them."""

    def sentence(self, load: Load) -> str:
        options: TextScanOptions = load.parts["text_scan"]
        words = []
        if options.trigger_words:
            words.append(f"{counted(len(options.trigger_words), 'trigger')} in {options.num_texts:,} texts")
        if options.search:
            words.append(
                f"every token of CLIP's vocabulary in {options.num_screen_texts} texts, and the first "
                f"{options.num_fine:,} of them in {options.num_texts:,} others"
            )
        images = self.num_images(load)
        return f"Embeds up to {images:,} images for the class means; then {'; '.join(words)}."

    def amount(self, load: Load) -> int:
        return num_texts(load.parts["text_scan"])

    def num_images(self, load: Load) -> int:
        most: int = load.parts["text_scan"].num_images
        return most if load.num_labelled is None else min(load.num_labelled, most)

    def flop(self, load: Load, cost: ModelCost) -> float:
        return self.num_images(load) * cost.image.flop + self.amount(load) * CAPTION_SHARE * cost.text.flop


TEXT_SCAN = Kind(
    name="text_scan",
    title="Text scan",
    about="Look for words that, inserted into a text, lead texts of every class to one class.",
    page="text-scans",
    computes=(TextScanning(name="text_scan", title="Look for words", unit="texts"),),
    inputs=(SUSPECT, LABELLED),
    options=TextScanOptions,
    shows="The report's rates, words and outcome follow from its counts, and its counts are consistent.",
    does_not_show=DOES_NOT_SHOW,
    report=TextScanReport,
    engine="sanitizer.work.text_scanning",
    spec=TextScanSpec,
    check=check,
    most_passes=most_passes,
    leaves={REPORT_NAME: MAX_REPORT_BYTES},
)
