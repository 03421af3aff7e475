"""Untrusted text (names, captions, messages), made so that it can be read and cannot mislead.

It stays text: what would change other text (controls, changes of writing direction, invisible characters,
piles of combining marks) is shown by its number, `[U+202E]`. Markup is not its business: templates escape it.
"""

import json
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

MAX_CHARACTERS = 2_000
MAX_NAME_CHARACTERS = 120
_MAX_ROWS = 200
_MAX_DEPTH = 8
_MAX_BITS = 128
_SHOWN_BY_NUMBER = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})
_INVISIBLE = frozenset("\u115f\u1160\u2800\u3164\uffa0\u034f\u17b4\u17b5")
"""Letters and marks that leave no ink."""
_MAX_MARKS = 2
"""Combining marks on one letter; more belong to no orthography that we know."""


def shown(text: str, limit: int = MAX_CHARACTERS) -> str:
    """`text` in one line, every character visible; at most `limit` of them, then how many more there are."""
    rest = len(text) - limit
    visible = "".join(_visible(text[:limit]))
    return visible if rest <= 0 else f"{visible}… [{rest} more characters in report.json]"


def name(text: str) -> str:
    """A name, short enough to stand in a sentence."""
    return shown(text, MAX_NAME_CHARACTERS)


def _visible(text: str) -> Iterator[str]:
    num_marks = _MAX_MARKS  # a mark at the beginning would sit on whatever stands before
    for character in text:
        is_mark = unicodedata.category(character) in {"Mn", "Me"}
        num_marks = num_marks + 1 if is_mark else 0
        if character != " " and (
            unicodedata.category(character) in _SHOWN_BY_NUMBER
            or character in _INVISIBLE
            or num_marks > _MAX_MARKS
        ):
            yield f"[U+{ord(character):04X}]"
        else:
            yield character


def rows(options: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Nested options as (dotted name, value) pairs, in their order; at most 200, and then how many more."""
    leaves = list(_leaves(options, "", 0))
    if len(leaves) > _MAX_ROWS:
        more = len(leaves) - _MAX_ROWS
        return [*leaves[:_MAX_ROWS], ("…", f"{more} more in report.json")]
    return leaves


def _leaves(value: Any, path: str, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value and depth < _MAX_DEPTH:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key), depth + 1)
    else:
        yield name(path), _plain(value)


def _plain(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value) if value.bit_length() <= _MAX_BITS else f"a number of {value.bit_length()} bits"
    if isinstance(value, float | str):
        return str(value)
    if isinstance(value, list | tuple) and not any(isinstance(one, list | tuple | dict) for one in value):
        return ", ".join(_plain(one) for one in value) or "none"
    return json.dumps(value, ensure_ascii=True)
