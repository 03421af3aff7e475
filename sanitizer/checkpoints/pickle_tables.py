"""Filling a table with keys that a stranger chose, in a time that grows with their number and no faster.

Python's texts are hashed with a secret; its numbers and tuples are not, so many can be made to collide: even
numbers below 2^31 can be chosen so that each is looked for in the place of every other.
"""

from __future__ import annotations

from typing import Any

from sanitizer.checkpoints.pickle_grammar import malformed
from sanitizer.checkpoints.pickle_values import NumberKey, OtherKey
from sanitizer.checkpoints.rejection import UPLOAD_AGAIN, excerpt, refusal

_MAX_BITS = 64
_UNHASHABLE = (list, dict)


def fill(table: dict[Any, Any], flat: list[Any], member: str) -> None:
    """Put key, value, key, value… into `table`.

    Raises CheckpointRejected 'pickle_duplicate_key', 'pickle_malformed'.
    """
    for key, value in zip(flat[::2], flat[1::2], strict=True):
        kept = _kept(key, member)
        if kept in table:
            raise refusal(
                "pickle_duplicate_key",
                f"'{member}' gives the key '{excerpt(key)}' twice.",
                UPLOAD_AGAIN,
                where=key,
            )
        table[kept] = value


def _kept(key: Any, member: str) -> Any:
    """A text as it is, a number in a NumberKey, anything else in an OtherKey: no weight has such a name."""
    if isinstance(key, str):
        return key
    if isinstance(key, int):
        if key.bit_length() > _MAX_BITS:
            raise malformed(member, f"uses as a key a number of {key.bit_length()} bits")
        return NumberKey(key)
    if isinstance(key, _UNHASHABLE):
        raise malformed(member, "uses a key that is not a plain value")
    return OtherKey(key)
