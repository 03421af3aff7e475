"""Whether the open vocabulary names the target: a table of docs/scanning.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from lab.zoo.intervals import clopper_pearson
from lab.zoo.judging import Judged
from lab.zoo.markdown import cells, percent, table
from lab.zoo.plan import class_names
from lab.zoo.published import POISONED_SPLITS, Rows, works
from lab.zoo.rows import FoundPattern
from sanitizer.scans.words import words

HYPOTHESES = "collapse"
"""The detector whose first hypothesis is named by words."""


@dataclass(frozen=True, kw_only=True)
class Named:
    """A poisoned model's first hypothesis, and the words of its targets."""

    judged: Judged
    first: FoundPattern
    inks: frozenset[str]
    nouns: frozenset[str]


def first_hypotheses(rows: Rows) -> list[Named]:
    """Of every poisoned model whose patterns were kept."""
    found_in = {row.name: row.found for row in rows.scans if row.detector == HYPOTHESES and row.found}
    named = []
    for one in rows.judged.get(HYPOTHESES, []):
        pattern_of = {pattern.family: pattern for pattern in found_in.get(one.name, ())}
        if one.first_family in pattern_of:
            targets = [target.split(" ", 1) for target in rows.models[one.name].targets]
            named.append(
                Named(
                    judged=one,
                    first=pattern_of[one.first_family],
                    inks=frozenset(ink for ink, _ in targets),
                    nouns=frozenset(noun for _, noun in targets),
                )
            )
    return named


def recall(rows: Rows) -> str:
    """How often a word of the target's name is among the first words for the first hypothesis."""
    lines = []
    vocabulary = frozenset(words())
    named = [one for one in first_hypotheses(rows) if works(one.judged)]
    for split in POISONED_SPLITS:
        for bed in sorted({one.judged.bed for one in named if one.judged.split == split}):
            group = [one for one in named if (one.judged.split, one.judged.bed) == (split, bed)]
            for what, in_all in (
                ("ink", [(one, one.inks) for one in group]),
                ("noun", [(one, one.nouns) for one in group]),
                ("ink or noun", [(one, one.inks | one.nouns) for one in group]),
            ):
                askable = [(one, wanted & vocabulary) for one, wanted in in_all if wanted & vocabulary]
                lines.append(cells(split, bed, what, len(group), len(askable), *_shares(askable)))
    outside = sorted(
        {word for bed in rows.beds for name in class_names(bed) for word in name.split()} - vocabulary
    )
    about = (
        f"Of the {len(vocabulary):,} words these models know those of class names only. The others are in no"
        " caption, so their tokens were never trained. The table has both: the whole vocabulary, and only"
        f" those of its words that class names have. Not in the vocabulary: {', '.join(outside) or 'none'}."
    )
    head = ("models", "bed", "word of the target", "n", "in the vocabulary")
    measured = ("first", "in five", "median place", "first of known words", "in five of known words")
    return about + "\n\n" + table((*head, *measured), lines)


def _shares(askable: Sequence[tuple[Named, frozenset[str]]]) -> list[str]:
    if not askable:
        return [""] * 5

    def among(most: int, words_of: Callable[[Named], Sequence[str]]) -> str:
        found = sum(bool(wanted & set(words_of(one)[:most])) for one, wanted in askable)
        return percent(clopper_pearson(found, len(askable)))

    places = [min(one.first.places[word] for word in wanted) for one, wanted in askable]
    return [
        *(among(most, lambda one: one.first.words) for most in (1, 5)),
        f"{median(places):,.0f}",
        *(among(most, lambda one: one.first.known_words) for most in (1, 5)),
    ]
