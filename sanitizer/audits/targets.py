"""Which classes of a labelled set an audit's targets name. Knows no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cleanclip.spec.errors import OptionsRejected
from cleanclip.spec.near_names import near_names
from cleanclip.spec.recipe import AuditOptions

NUM_SUGGESTIONS = 3


@dataclass(frozen=True)
class Targets:
    """Class numbers: the audit's own target, and that of each attack, in their order."""

    own: int
    of_attacks: tuple[int, ...]

    @property
    def further(self) -> tuple[int, ...]:
        """Those of attacks that are not the audit's own, each once, the first named first."""
        return tuple(target for target in dict.fromkeys(self.of_attacks) if target != self.own)

    @property
    def all(self) -> tuple[int, ...]:
        """Each once, the audit's own first."""
        return (self.own, *self.further)


def find_targets(options: AuditOptions, class_names: Sequence[str]) -> Targets:
    """Raises OptionsRejected as `find_target` does; `where` is "audit.target" or "audit.attacks.N.target"."""
    own = find_target(options.target, class_names, where="audit.target")
    of_attacks = (
        own
        if attack.target is None
        else find_target(attack.target, class_names, where=f"audit.attacks.{number}.target")
        for number, attack in enumerate(options.attacks)
    )
    return Targets(own, tuple(of_attacks))


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
            "Give the classes of the labelled set different names.",
            where=where,
        )
    raise OptionsRejected(
        "unknown_target",
        f"The labelled set has no class named '{target}'.",
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
