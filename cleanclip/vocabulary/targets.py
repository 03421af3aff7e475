"""Which class a target names. Said alike where a job is ordered and where it is measured. Free of torch."""

from collections.abc import Sequence

from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.near_names import near_names

NUM_SUGGESTIONS = 3


def find_target(target: str, class_names: Sequence[str], *, where: str) -> int:
    """The number of the class whose name is exactly `target`; `where` is its place in what was asked.

    Raises OptionsRejected `unknown_target`, naming near matches, or `ambiguous_target` if classes share it.
    """
    found = [number for number, name in enumerate(class_names) if name == target]
    if len(found) == 1:
        return found[0]
    if found:
        raise OptionsRejected(
            "ambiguous_target",
            f"{len(found)} classes are named '{target}' (numbers {', '.join(map(str, found))}).",
            "Give the classes of the labelled dataset different names.",
            where=where,
        )
    raise OptionsRejected(
        "unknown_target",
        f"The target is not one of the {len(class_names)} classes of the labelled dataset: '{target[:60]}'.",
        _suggestion(target, class_names),
        where=where,
    )


def _suggestion(target: str, class_names: Sequence[str]) -> str:
    contained = [name for name in class_names if target.casefold() in name.casefold()]
    near = list(dict.fromkeys([*near_names(target, class_names), *contained]))[:NUM_SUGGESTIONS]
    if near:
        return f"Did you mean {' or '.join(map(repr, near))}?"
    sample = ", ".join(repr(name) for name in class_names[:NUM_SUGGESTIONS])
    return f"Use one of its {len(class_names)} class names, for instance {sample}."
