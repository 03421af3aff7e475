"""Sentences with slots: a text of a job's process is believed if it is one of them.

    SAME = Phrase("{reader:versioned} reads the same {num:count} tensors from this file, bit by bit.")
    SAME(reader="torch.load 2.11.0", num=302)          the sentence, for the process that found it out
    Annotated[str, AfterValidator(one_of(SAME, …))]    the same sentence, for whoever reads what it left

The process has read an untrusted file and may be taken over. It chooses among our sentences and fills
their slots; what a slot may hold is a form below. Names out of a checkpoint stand in quotes, short and
without a blank, so that none of them reads as a sentence.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any

MOST_NAMES = 32
"""In one list of names."""
_NAME = r"[A-Za-z0-9_.:/+*\[\]?-]{0,80}…?"
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_.:/+*\[\]-]")
_WORD = r"[A-Za-z_][A-Za-z0-9_.]{0,80}"
_SAMPLE = r"[^'\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]{0,80}…?"
_NOT_IN_A_SAMPLE = re.compile(r"['\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_WORDS_OF_OPTIONS = "true|false|shortest|squash|tok|avg|argmax|eos|first|last|clip_bpe"
_VALUE = _WORDS_OF_OPTIONS + r"|[0-9a-f]{64}|\(?-?\d[\d.e, -]{0,80}\)?"
_ENTRY = r"[A-Za-z0-9][A-Za-z0-9._-]{0,40}"
_SIDE = rf"{_ENTRY} \(\d{{1,4}} px\)"
VERSION = r"\d[0-9a-z.]{0,20}(?:\+[0-9a-z.]{1,20})?"


def _name(value: object) -> str:
    return _cut(_NOT_IN_A_NAME, value, "?")


def _sample(value: object) -> str:
    return _cut(_NOT_IN_A_SAMPLE, value, "\ufffd")


def _cut(unwanted: re.Pattern[str], value: object, instead: str) -> str:
    text = str(value)
    return "'" + unwanted.sub(instead, text[:80]) + ("…" if len(text) > 80 else "") + "'"


def _sides(values: Mapping[str, int]) -> str:
    return ", ".join(f"{entry} ({side} px)" for entry, side in values.items())


def _names(values: Iterable[object]) -> str:
    return ", ".join(map(_name, values))


_FORMS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "count": (r"\d{1,16}", str),
    "number": (r"-?(?:\d{1,20}(?:\.\d{1,20})?(?:e[+-]?\d{1,3})?|inf)|nan", str),
    "name": (f"'{_NAME}'", _name),
    "names": (f"'{_NAME}'(?:, '{_NAME}'){{0,{MOST_NAMES - 1}}}", _names),
    "sample": (f"'{_SAMPLE}'", _sample),
    "word": (_WORD, str),
    "words": (f"{_WORD}(?:, {_WORD}){{0,{MOST_NAMES - 1}}}", ", ".join),
    "part": (r"[a-z0-9:.,#_-]{1,60}", str),
    "entry": (_ENTRY, str),
    "sides": (rf"{_SIDE}(?:, {_SIDE}){{0,{MOST_NAMES - 1}}}", _sides),
    "value": (_VALUE, str),
    "values": (f"(?:{_VALUE})(?:, (?:{_VALUE})){{0,63}}", ", ".join),
    "versioned": (rf"[a-z][a-z._]{{0,20}} {VERSION}", str),
}
"""Of a slot: what it may hold, and how a value is written there. `name`: out of a checkpoint; `sample`: out
of a dataset, whose own words may have blanks; `word`: an identifier, as of a class or of what a pickle names;
`part`: of a scan, by its options; `entry`: the name of a published configuration; `sides`: such names with
the sides of their images; `value`: of an option, as `sanitizer.checkpoints.choices` shows it."""


@dataclass(frozen=True)
class Phrase:
    """One sentence; a slot is `{name:form}`."""

    text: str

    def __call__(self, **values: object) -> str:
        """The sentence with these values in its slots."""
        return "".join(
            literal + (_FORMS[form or ""][1](values[slot]) if slot else "")
            for literal, slot, form, _ in Formatter().parse(self.text)
        )

    @property
    def before(self) -> str:
        """What stands before its first slot."""
        return self.text.partition("{")[0]

    @property
    def pattern(self) -> str:
        """A regular expression of all sentences that it makes."""
        return "".join(
            re.escape(literal) + (f"(?:{_FORMS[form or ''][0]})" if slot else "")
            for literal, slot, form, _ in Formatter().parse(self.text)
        )


class OneOf:
    """Of pydantic's `AfterValidator`: raises ValueError for a text that is none of these sentences."""

    def __init__(self, phrases: Iterable[Phrase]) -> None:
        self._pattern = re.compile("|".join(f"(?:{phrase.pattern})" for phrase in phrases))

    def __call__(self, text: str) -> str:
        if not self._pattern.fullmatch(text):
            raise ValueError("is not a sentence that this service makes")
        return text


def one_of(*phrases: Phrase) -> OneOf:
    """Held against these sentences."""
    return OneOf(phrases)
