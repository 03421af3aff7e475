"""The options of `text_scan`, with bounds. Free of torch."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval, Len, MaxLen

from cleanclip.vocabulary.bounds import NUMBER, ShortText, StrictOptions, label
from cleanclip.vocabulary.clip_text import as_clip_reads

MIN_CLASSES = 3
MIN_TEXTS = 20
"""Of which all must follow a word for a lower bound above the limit of control: 16 are the fewest."""
MAX_TRIGGERS, MAX_WORDS = 16, 8


@dataclass(frozen=True, kw_only=True)
class TextScanOptions(StrictOptions):
    """Which words, inserted into a text, lead texts of every class to one class?"""

    trigger_words: Annotated[
        tuple[Annotated[str, Len(1, 200)], ...], MaxLen(MAX_TRIGGERS), label("Triggers to measure")
    ] = ()
    """Triggers that you suspect. Words of one trigger are inserted together, each at a place of its own."""
    search: Annotated[bool, label("Search the vocabulary")] = True
    """Whether every token of CLIP's vocabulary is tried."""
    num_screen_texts: Annotated[
        int, Interval(ge=2, le=64), NUMBER, label("Texts to screen with", is_advanced=True)
    ] = 4
    """Texts of different classes that every token is inserted into."""
    num_texts: Annotated[int, Interval(ge=MIN_TEXTS, le=2000), NUMBER, label("Texts to measure on")] = 160
    """Other texts, into which the triggers and the first tokens of the screening are inserted."""
    num_fine: Annotated[
        int, Interval(ge=50, le=5000), NUMBER, label("Tokens to measure", is_advanced=True)
    ] = 400
    """Tokens of the screening that are measured."""
    num_images: Annotated[
        int, Interval(ge=30, le=100_000), NUMBER, label("Images for the class means", is_advanced=True)
    ] = 2000
    """Labelled images, drawn by the seed, whose mean embeddings are the classes."""
    known_words: Annotated[tuple[ShortText, ...], MaxLen(1000), label("Further names of classes")] = ()
    """Synonyms of class names: words that may lead to a class. They are measured and not judged."""

    def __post_init__(self) -> None:
        if not self.search and not self.trigger_words:
            raise ValueError("must search or name trigger_words")
        words = [as_clip_reads(trigger).split() for trigger in self.trigger_words]
        if not all(1 <= len(one) <= MAX_WORDS for one in words):
            raise ValueError(f"a trigger must have 1 to {MAX_WORDS} words")
        if len({*map(tuple, words)}) < len(words):
            raise ValueError("trigger_words must differ from each other")
