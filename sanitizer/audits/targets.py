"""Which class of a labelled set an audit's target names. Knows no model."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from sanitizer.errors import OptionsRejected

NUM_SUGGESTIONS = 3


def find_target(target: str, class_names: Sequence[str]) -> int:
    """The number of the class whose name is exactly `target`.

    Raises OptionsRejected `unknown_target`, naming near matches, or `ambiguous_target` if classes share it.
    """
    found = [number for number, name in enumerate(class_names) if name == target]
    if len(found) == 1:
        return found[0]
    if found:
        raise OptionsRejected(
            "ambiguous_target",
            f"{len(found)} classes are named '{target}' (numbers {', '.join(map(str, found))}).",
            "Give the classes of the labelled set different names.",
            where="audit.target",
        )
    raise OptionsRejected(
        "unknown_target",
        f"The labelled set has no class named '{target}'.",
        _suggestion(target, class_names),
        where="audit.target",
    )


def _suggestion(target: str, class_names: Sequence[str]) -> str:
    folded = {name.casefold(): name for name in class_names}
    close = difflib.get_close_matches(target.casefold(), folded, n=NUM_SUGGESTIONS, cutoff=0.6)
    contained = [key for key in folded if target.casefold() in key]
    near = list(dict.fromkeys([*close, *contained]))[:NUM_SUGGESTIONS]
    if near:
        return f"Did you mean {' or '.join(repr(folded[key]) for key in near)}?"
    sample = ", ".join(repr(name) for name in class_names[:NUM_SUGGESTIONS])
    return f"Use one of its {len(class_names)} class names, for instance {sample}."
