"""What makes JSON say one thing: a hook for `json.loads`, for everybody who reads what a person wrote."""

from __future__ import annotations


def unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """For `object_pairs_hook`: of two values under one key a reader would take either. Raises RepeatedKey."""
    table = dict(pairs)
    if len(table) != len(pairs):
        raise RepeatedKey("a key occurs twice")
    return table


class RepeatedKey(ValueError):
    """An object has a key twice."""
