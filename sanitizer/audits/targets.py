"""Which classes of a labelled set an audit's targets name."""

from collections.abc import Sequence
from dataclasses import dataclass

from cleanclip.vocabulary.recipe import AuditOptions
from cleanclip.vocabulary.targets import find_target


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
