"""What tensors cannot say: declared, read from a configuration file, or the default of a family.

Every choice leaves a sentence in `assumed`, so that a person can see which value rests on what.
"""

from dataclasses import dataclass, field
from typing import TypeVar

from cleanclip.vocabulary import inspection_phrases as phrases
from cleanclip.vocabulary.errors import CheckpointRejected
from cleanclip.vocabulary.recipe import DeclaredOptions
from sanitizer.checkpoints.rejection import refusal

T = TypeVar("T")


@dataclass
class Choices:
    """`declared` wins over the family's default; `sources` names options that a configuration file gave."""

    declared: DeclaredOptions
    sources: dict[str, str] = field(default_factory=dict)
    assumed: dict[str, str] = field(default_factory=dict)

    def pick(self, option: str, default: T, why: str) -> T:
        """The declared value of `option`, else `default` because of `why`."""
        value = getattr(self.declared, option)
        if value is None:
            self.assumed[option] = f"{shown(default)}: {why}"
            return default
        self.assumed[option] = f"{shown(value)}: {self.sources.get(option, phrases.DECLARED)}"
        chosen: T = value
        return chosen

    def from_tensors(self, option: str, value: T, by: str) -> T:
        """A value that the tensors do tell. Raises CheckpointRejected where something else was declared."""
        declared = getattr(self.declared, option)
        if declared is not None and declared != value:
            raise contradiction(option, f"{shown(declared)} was declared, but {by} says {shown(value)}")
        self.assumed[option] = f"{shown(value)}: {by}"
        return value


def contradiction(option: str, what: str) -> CheckpointRejected:
    """'option_contradicts_tensors': what was declared cannot be true of these tensors."""
    return refusal(
        "option_contradicts_tensors",
        f"The option {option} does not fit: {what}.",
        f"Correct {option}, or leave it out.",
        where=option,
    )


def shown(value: object) -> str:
    """As JSON has it, but for quotes."""
    return str(value).lower() if isinstance(value, bool) else str(value)
