"""Filling a table with keys that a stranger chose, in a time that grows with their number and no faster.

Python's texts are hashed with a secret; its numbers and tuples are not, so many can be made to collide.
"""

from __future__ import annotations

from typing import Any

from sanitizer.checkpoints.pickle_grammar import malformed
from sanitizer.checkpoints.pickle_values import OtherKey
from sanitizer.checkpoints.rejection import UPLOAD_AGAIN, excerpt, refusal

_MAX_INDEX = 2**31
"""Optimizers number their parameters; below this every number has a hash of its own."""
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
    """A text or a small number as it is, anything else in an OtherKey: no weight has such a name."""
    if isinstance(key, str) or (type(key) is int and 0 <= key < _MAX_INDEX):
        return key
    if isinstance(key, int) and key.bit_length() > _MAX_BITS:
        raise malformed(member, f"uses as a key a number of {key.bit_length()} bits")
    if isinstance(key, _UNHASHABLE):
        raise malformed(member, "uses as a key what is no plain value")
    return OtherKey(key)
