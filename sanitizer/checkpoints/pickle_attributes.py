"""Attributes that a pickle gives to a table: torch's `_metadata` on a state dict, and nothing else.

We drop it; `load_state_dict` obeys it, so it may say no more than what torch.save writes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sanitizer.checkpoints.pickle_grammar import malformed
from sanitizer.checkpoints.rejection import excerpt


def first_attribute(state: Any) -> str:
    """The first attribute that `state` would set, for a sentence."""
    if isinstance(state, dict) and state:
        return f"attribute '{excerpt(next(iter(state)), 40)}'"
    return "slots"


def metadata_in(state: Any, member: str) -> dict[Any, Any]:
    """`_metadata` of a saved OrderedDict, its one attribute. Raises CheckpointRejected 'pickle_malformed'."""
    if not isinstance(state, dict):
        raise malformed(member, "sets slots of a dict, which has none")
    others = {key: None for key, value in state.items() if key != "_metadata" or not isinstance(value, dict)}
    if others:
        what = first_attribute(others)
        raise malformed(member, f"sets the {what} of a table, which no saved state dict does")
    metadata: dict[Any, Any] = state.get("_metadata", {})
    return metadata


def check_metadata(tables: Iterable[dict[Any, Any]], member: str) -> None:
    """A version for each module; asked for at the pickle's end, since a table may be filled after its use.

    Raises CheckpointRejected 'pickle_malformed', for example for "assign_to_params_buffers".
    """
    for metadata in {id(table): table for table in tables}.values():  # one may be given to many
        for path, entry in metadata.items():
            if not isinstance(entry, dict) or not all(map(_is_version, entry.items())):
                raise malformed(member, f"says more of the module '{excerpt(path, 40)}' than its version")


def _is_version(item: tuple[Any, Any]) -> bool:
    return item[0] == "version" and (item[1] is None or type(item[1]) is int)
