"""Which short texts of a customer may be shown to people: names of files, classes, templates. Pure.

A name with control characters can rewrite a terminal or a log, one with changes of direction reads as another
name (`\\u202egnp.exe` as `exe.png`). Such names are refused, not mended: the customer would look for the name
that was given.
"""

from __future__ import annotations

import unicodedata

_CHANGES_OF_DIRECTION = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_BREAKS_AND_MARKS = frozenset("\u2028\u2029\ufeff")


def is_fit_to_show(text: str) -> bool:
    """One line, no control characters, no changes of direction, no invisible byte order mark."""
    return text.isprintable() or not any(
        unicodedata.category(character) in {"Cc", "Cs"}
        or character in _CHANGES_OF_DIRECTION
        or character in _BREAKS_AND_MARKS
        for character in text
    )
