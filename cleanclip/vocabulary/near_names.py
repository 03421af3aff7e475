"""Which names of a list a mistyped one may mean. Its cost is bounded whatever the names are: they are
untrusted, and a service compares them while requests wait.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise

MOST_CHARACTERS = 100_000
"""Of all names that are compared; those behind are no suggestion. ImageNet's thousand have 20,000."""
_MOST_OF_A_NAME = 64
_LEAST_ALIKE = 0.5


def near_names(wanted: str, names: Iterable[str], *, most: int = 3) -> list[str]:
    """At most so many, the nearest first; none that is not alike.

    Two names are as alike as the Dice coefficient of their pairs of neighbouring letters, ends included.
    """
    pairs = _pairs(wanted)
    scored: list[tuple[float, int, str]] = []
    for name in _first(names):
        others = _pairs(name)
        alike = 2 * len(pairs & others) / (len(pairs) + len(others))
        if alike >= _LEAST_ALIKE:
            scored.append((-alike, len(scored), name))
    return [name for _, _, name in sorted(scored)[:most]]


def _first(names: Iterable[str]) -> Iterator[str]:
    left = MOST_CHARACTERS
    for name in names:
        left -= min(len(name), _MOST_OF_A_NAME) + 1
        if left < 0:
            return
        yield name


def _pairs(name: str) -> set[tuple[str, str]]:
    text = f"\0{name[:_MOST_OF_A_NAME].casefold()}\0"
    return set(pairwise(text))
