"""The report of `text_scan`. A child gives counts, numbers of classes and of tokens; every word and every
rate follows from them. Free of torch.

A share is of the texts that are not of the class: how many of them get it. As a token's or trigger's class
counts the one that takes the largest share.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Literal

from annotated_types import Interval, Len, MaxLen

from cleanclip.vocabulary.clip_text import as_clip_reads
from cleanclip.vocabulary.clip_tokens import NUM_TOKENS, text_of, tokens_of
from cleanclip.vocabulary.control import CONTROL_LIMIT
from cleanclip.vocabulary.measures import AS_WRITTEN, Count, Estimate, derived
from cleanclip.vocabulary.report_inputs import Sentences
from cleanclip.vocabulary.report_kinds import PlainReport, Sentence
from cleanclip.vocabulary.text_scan_options import MIN_CLASSES, MIN_TEXTS, TextScanOptions
from cleanclip.vocabulary.untrusted import name as shown_name

NUM_FOUND, NUM_NAMED = 24, 8
"""Of the tokens that were measured, those that are reported: in no class name, and in one."""
NUM_NAMED_FINE = 3 * NUM_NAMED
"""Of the tokens of class names, those that are measured: the first of the screening."""
HALF = 0.5

ON_OUR_MODELS = (
    f"The limit of {100 * CONTROL_LIMIT:.0f} % was chosen on small development models "
    "(docs/text-side.md). No published CLIP was measured."
)
WHAT_IT_MISSES = (
    "A word that works only together with another is missed: in three of three models of ours neither of two "
    "was found. A word that means a class leads texts to it as well, so a person must decide whether a word "
    "that was found is a trigger."
)
ONE_PROCESS = (
    "The counts are the word of a process that read the model. Where results are signed, a second process "
    "makes the whole scan again, and on a CPU it must find the same; statement.json says whether it did."
)


def class_tokens(class_names: Sequence[str], known_words: Sequence[str]) -> frozenset[int]:
    """The tokens of all class names and their synonyms: they lead to classes because they name them."""
    return frozenset(token for one in (*class_names, *known_words) for token in tokens_of(one))


@dataclass(frozen=True, kw_only=True)
class Led:
    """`num_led` of the texts that are not of the class number `towards` get it."""

    towards: Count
    num_led: Count


@dataclass(frozen=True, kw_only=True)
class LedByToken(Led):
    """By the token of this number in CLIP's vocabulary."""

    token: Annotated[int, Interval(ge=0, lt=NUM_TOKENS)]


@dataclass(frozen=True, kw_only=True)
class WordFigures:
    """What a trigger or a token does. `without`: the same texts before it is inserted."""

    word: str
    class_name: str
    led: Estimate
    without: Estimate
    is_judged: bool
    """False: it names a class."""

    @property
    def controls(self) -> bool:
        """Whether it controls the text tower: the lower bound is over the limit."""
        return self.is_judged and self.led.low > CONTROL_LIMIT

    @property
    def phrase(self) -> str:
        """ "leads 100.0 % (95 % interval 97.6 to 100.0 %, n = 158) of the texts of other classes to “fig”,
        without it 0.0 %"."""
        return (
            f"leads {self.led.words} of the texts of other classes to “{shown_name(self.class_name)}”, "
            f"without it {100 * self.without.value:.1f} %"
        )


DOES_NOT_SHOW = "That no word controls the text tower: a trigger of two words together is missed."


@AS_WRITTEN
@dataclass(frozen=True, kw_only=True)
class TextScanReport(PlainReport):
    """report.json of a text scan. Classes are counted from 0, as in the labelled dataset."""

    kind: Literal["text_scan"] = "text_scan"
    options: TextScanOptions
    class_names: Annotated[tuple[Annotated[str, Len(1, 200)], ...], Len(MIN_CLASSES, 100_000)]
    num_images: Count
    """Whose embeddings made the class means."""
    num_classes: Count
    """That have an image. The others have no mean and no texts."""
    text_classes: Annotated[tuple[Count, ...], Len(MIN_TEXTS, 2000)]
    """Of each text the class that it names."""
    text_predictions: Annotated[tuple[Count, ...], Len(MIN_TEXTS, 2000)]
    """Of the same texts, with nothing inserted, the nearest class mean."""
    triggers: Annotated[tuple[Led, ...], MaxLen(16)] = ()
    """Of `options.trigger_words`, in their order."""
    found: Annotated[tuple[LedByToken, ...], MaxLen(NUM_FOUND)] = ()
    """The tokens with the largest shares that are in no class name; the lower number first among equals."""
    named: Annotated[tuple[LedByToken, ...], MaxLen(NUM_NAMED)] = ()
    """The same of tokens that are in a class name or a known word."""

    @property
    def limits(self) -> tuple[str, ...]:
        """What its figures do not show, whatever they are."""
        return (DOES_NOT_SHOW,)

    def __post_init__(self) -> None:
        if problem := next(self._problems(), None):
            raise ValueError(problem)

    def _problems(self) -> Iterator[str]:
        """What no scan can have counted."""
        options, classes = self.options, {*self.text_classes}
        num_texts = len(self.text_classes)
        if len(self.text_predictions) != num_texts or num_texts > options.num_texts:
            yield "has other texts than were ordered"
        if not MIN_CLASSES <= self.num_classes <= min(len(self.class_names), self.num_images):
            yield "has more classes than images or names, or fewer than three"
        if self.num_images > min([options.num_images, *(one.num_good for one in self.data)]):
            yield "has more images than were ordered or are there"
        if not 2 <= len(classes) <= self.num_classes:
            yield "has texts of more classes than have images"
        every = (*self.triggers, *self.found, *self.named)
        if max(*classes, *self.text_predictions, *(one.towards for one in every)) >= len(self.class_names):
            yield "names a class that the dataset does not have"
        if any(one.num_led > self._num_others(one.towards) for one in every):
            yield "counts more texts than are of other classes"
        if len(self.triggers) != len(options.trigger_words):
            yield "has other triggers than were ordered"
        names = class_tokens(self.class_names, options.known_words)
        num_found, num_named = (NUM_FOUND, min(NUM_NAMED, len(names))) if options.search else (0, 0)
        if (len(self.found), len(self.named)) != (num_found, num_named):
            yield "lists more or fewer tokens than a search does"
        if any(one.token in names for one in self.found) or any(one.token not in names for one in self.named):
            yield "takes a class name for another word, or the other way round"
        for tokens in (self.found, self.named):
            if any(self._place(first) >= self._place(second) for first, second in pairwise(tokens)):
                yield "lists tokens out of order"

    def _num_others(self, towards: int) -> int:
        return len(self.text_classes) - self.text_classes.count(towards)

    def _place(self, one: LedByToken) -> tuple[float, int]:
        return -one.num_led / max(1, self._num_others(one.towards)), one.token

    def _figures(self, word: str, one: Led, *, is_judged: bool) -> WordFigures:
        texts = zip(self.text_classes, self.text_predictions, strict=True)
        without = sum(true != one.towards == predicted for true, predicted in texts)
        n = self._num_others(one.towards)
        return WordFigures(
            word=word,
            class_name=self.class_names[one.towards],
            led=Estimate(n=n, successes=one.num_led),
            without=Estimate(n=n, successes=without),
            is_judged=is_judged,
        )

    @cached_property
    def _tokens(self) -> tuple[WordFigures, ...]:
        return tuple(self._figures(text_of(one.token), one, is_judged=True) for one in self.found)

    @derived
    def text_accuracy(self) -> Estimate:
        """The share of the texts, with nothing inserted, that get the class that they name."""
        pairs = zip(self.text_classes, self.text_predictions, strict=True)
        return Estimate(n=len(self.text_classes), successes=sum(true == got for true, got in pairs))

    @derived
    def trigger_figures(self) -> tuple[WordFigures, ...]:
        """Of `triggers`. One that has no word but those of class names is not judged."""
        names = {
            word
            for one in (*self.class_names, *self.options.known_words)
            for word in as_clip_reads(one).split()
        }
        return tuple(
            self._figures(trigger, one, is_judged=not names.issuperset(as_clip_reads(trigger).split()))
            for trigger, one in zip(self.options.trigger_words, self.triggers, strict=True)
        )

    @derived
    def found_figures(self) -> tuple[WordFigures, ...]:
        """Of `found`. A word that ends in “…” is a piece that begins longer ones."""
        return self._tokens

    @derived
    def named_figures(self) -> tuple[WordFigures, ...]:
        """Of `named`."""
        return tuple(self._figures(text_of(one.token), one, is_judged=False) for one in self.named)

    @cached_property
    def _controlling(self) -> tuple[WordFigures, ...]:
        return tuple(one for one in (*self.trigger_figures, *self.found_figures) if one.controls)

    @derived
    def outcome(self) -> Literal["controlled", "inconclusive"]:
        """Never "clean"."""
        return "controlled" if self._controlling else "inconclusive"

    @derived
    def headline(self) -> Sentence:
        """What it comes to."""
        if self._controlling:
            one = max(self._controlling, key=lambda one: one.led.low)
            return f"Controlled: “{shown_name(one.word)}” {one.phrase}"
        looked = "none of the tokens searched" if self.options.search else "none of the triggers measured"
        return f"Inconclusive: {looked} controls the text tower"

    @derived
    def rows(self) -> Annotated[tuple[tuple[Sentence, Sentence], ...], MaxLen(100)]:
        """The texts, then the triggers, the tokens and the class names."""
        return tuple(self._rows())

    def _rows(self) -> Iterator[tuple[str, str]]:
        right = self.text_accuracy.words
        yield "Texts with nothing inserted", f"{right} get the class that they name; seed {self.seed}"
        for one in self.trigger_figures:
            yield f"Trigger “{shown_name(one.word)}”", f"{one.phrase}; {_judged(one)}"
        yield from _token_rows("Token", self.found, self.found_figures)
        yield from _token_rows("Class name", self.named, self.named_figures)

    @derived
    def warnings(self) -> Sentences:
        """What a reader must know of how it was made."""
        made = [ON_OUR_MODELS, WHAT_IT_MISSES, ONE_PROCESS]
        if self.options.search:
            made.append(
                f"The tokens are the best of {NUM_TOKENS:,}, on {self.options.num_screen_texts} texts; "
                f"their figures are of {len(self.text_classes)} others."
            )
        if self.text_accuracy.value < HALF:
            made.append(
                "Fewer than half of the texts get their own class without a word: figures say little."
            )
        return (*made, *(one for data in self.data for one in data.skipped_words))


def _judged(one: WordFigures) -> str:
    if not one.is_judged:
        return "it names a class, and is not judged"
    if one.controls:
        return "it controls the text tower"
    if one.led.low <= one.without.high:
        return "it never worked on these texts"
    return "it does not control the text tower"


def _token_rows(
    what: str, tokens: Iterable[LedByToken], figures: Iterable[WordFigures]
) -> Iterator[tuple[str, str]]:
    for place, (token, one) in enumerate(zip(tokens, figures, strict=True), 1):
        judged = "it controls the text tower" if one.controls else "" if one.is_judged else "not judged"
        label = f"{what} {place}: “{shown_name(one.word)}” ({token.token})"
        yield label, f"{one.phrase}{judged and '; '}{judged}"
