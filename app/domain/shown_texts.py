"""Which short texts of a customer may be shown to people: names of files, classes, templates. Pure.

A name with control characters can rewrite a terminal or a log, one with changes of direction reads as another
name (`\\u202egnp.exe` as `exe.png`), one with characters that nobody sees looks like another, `..` is none.
Such names are refused, not mended: the customer would look for the name that was given.
"""

import unicodedata

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories: controls, formats (zero-width, directions, tags), halves, private, unassigned, line breaks."""
_WITHOUT_INK = frozenset("\u115f\u1160\u2800\u3164\uffa0\u034f\u17b4\u17b5")
_SELECTORS = range(0xE0100, 0xE01F0)
_JOINERS = frozenset("\u200c\u200d")
_WITH_CASE = frozenset({"Lu", "Ll", "Lt"})


def is_fit_to_show(text: str) -> bool:
    """One line in which every character can be seen, and more than dots and blanks."""
    if text.isascii() and text.isprintable():  # nearly all of them
        return bool(text.strip(". "))
    return bool(text.strip(". ")) and all(_is_seen(text, at) for at in range(len(text)))


def shown(text: str) -> str:
    """The text of a sample, which nobody gave as a name: with a replacement character for each unseen one."""
    return "".join(
        character if _is_seen(text, at) else "\N{REPLACEMENT CHARACTER}" for at, character in enumerate(text)
    )


def _is_seen(text: str, at: int) -> bool:
    """Whether people see the character at this place.

    The two joiners that Persian, the scripts of India and emoji need may stand between their characters.
    """
    character = text[at]
    if character in _JOINERS:
        return 0 < at < len(text) - 1 and _takes_joiners(text[at - 1]) and _takes_joiners(text[at + 1])
    is_unseen = unicodedata.category(character) in _UNSEEN or ord(character) in _SELECTORS
    return not is_unseen and character not in _WITHOUT_INK


def _takes_joiners(character: str) -> bool:
    """A letter without case, a mark on one, or an image."""
    category = unicodedata.category(character)
    return not character.isascii() and category not in _WITH_CASE and category[0] in "LMS"
