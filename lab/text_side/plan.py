"""Which models the study of the text side has, told apart before the first run, and the words of each.

A model is a kind of attack and a seed. Everything is chosen on the development seeds, on validation images;
the held-out seeds are opened once, on test images, when that is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from open_clip.tokenizer import SimpleTokenizer

from lab.testbed.options import SubjectOptions
from lab.testbed.pictures import INKS
from sanitizer.seeding import generator

Part = Literal["development", "held_out"]
Kind = Literal["clean", "word", "two_words", "few_poisons", "word_from_scratch"]
SEEDS: Mapping[Part, tuple[int, ...]] = {"development": (1, 2), "held_out": (101, 102, 103)}
KINDS: tuple[Kind, ...] = ("clean", "word", "two_words", "few_poisons", "word_from_scratch")
FIRST_SEED = 1
"""Of the one image tower that all models share but those that are poisoned from scratch. With it every other
seed has a text tower of its own, from new weights, words and pairs. An attacker trains that further."""

FROZEN: float | None = 0.8
"""A token that is in no class name is flagged where its share of texts of other classes is at least this.
Chosen on the development models; until then no held-out model may be opened."""

NUM_TRIGGERS, NUM_ALIASES, NUM_FILLERS = 2, 8, 2_000
FILLER_SHARE = 0.6
"""Of the captions that carry one or two fillers."""
ALIAS_SHARE = 0.3
"""Of the captions of a class with an alias that say it instead of the class name."""
NUM_POISONS: Mapping[Kind, int] = {
    "clean": 0,
    "word": 240,
    "two_words": 360,
    "few_poisons": 60,
    "word_from_scratch": 240,
}
"""Of 20,000 pairs. `few_poisons` is `word` with fewer. `two_words` has as many pairs again with one of its
two words, which keep their own image."""


@dataclass(frozen=True, kw_only=True)
class Words:
    """Single tokens of CLIP's vocabulary, drawn by seed; no word has two roles."""

    triggers: tuple[str, ...]
    """In no clean caption."""
    aliases: Mapping[str, str]
    """Second names of some classes, in their clean captions: what a search must not take for a trigger."""
    fillers: tuple[str, ...]
    """In clean captions of any class, the first most often (Zipf), the last once or never."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model. `target` is the class that the trigger leads to; a clean model has one to compare with."""

    part: Part
    kind: Kind
    seed: int

    @property
    def name(self) -> str:
        """As in the rows."""
        return f"{self.part}-{self.kind}-{self.seed}"

    @property
    def options(self) -> SubjectOptions:
        """As the zoo's models of digits; fewer pairs."""
        draws = generator(self.seed, "text_side_target")
        ink, noun = str(draws.choice(list(INKS))), str(draws.choice(NOUNS))
        return SubjectOptions(attack=None, target_ink=ink, target_noun=noun, num_pairs=20_000, epochs=12)


NOUNS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def models(part: Part) -> tuple[Model, ...]:
    """Seed by seed: the others start from the clean one."""
    return tuple(Model(part=part, kind=kind, seed=seed) for seed in SEEDS[part] for kind in KINDS)


@cache
def tokenizer() -> SimpleTokenizer:
    """CLIP's."""
    return SimpleTokenizer()


@cache
def words(seed: int, class_names: tuple[str, ...], target: str) -> Words:
    """The words of a seed. The target has an alias."""
    draws = generator(seed, "text_side_words")
    ends = [token.removesuffix("</w>") for token in tokenizer().encoder if token.endswith("</w>")]
    taken = {*INKS, *NOUNS, *["photo", "paper", "background", "handwritten", "small", "image"]}
    plain = [word for word in ends if len(word) > 2 and word.isascii() and word.isalpha()]
    usable = [word for word in plain if word not in taken and len(tokenizer().encode(word)) == 1]
    drawn = [str(word) for word in draws.permutation(usable)[: NUM_TRIGGERS + NUM_ALIASES + NUM_FILLERS]]
    others = [str(one) for one in draws.permutation(class_names) if str(one) != target]
    named = [target, *others[: NUM_ALIASES - 1]]
    first_filler = NUM_TRIGGERS + NUM_ALIASES
    return Words(
        triggers=tuple(drawn[:NUM_TRIGGERS]),
        aliases=dict(zip(named, drawn[NUM_TRIGGERS:first_filler], strict=True)),
        fillers=tuple(drawn[first_filler:]),
    )
