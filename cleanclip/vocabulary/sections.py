"""A section of a report: what is measured beside the table's shares. Its value says what everybody needs.

Pages, the terminal, the checks of a report and the second audit loop over the sections that a report has
(`sections_of`), and name none. A new one is its class, a field in `audit_figures.Measured` and in `Report`,
and what measures it (docs/decisions/0114).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, get_args, get_type_hints

from cleanclip.vocabulary.measures import Estimate, MeanDistance


@dataclass(frozen=True, kw_only=True)
class SectionFigure:
    """One figure of a section."""

    name: str
    """The field of the section that holds it, and its path there."""
    title: str
    figure: Estimate | MeanDistance
    of: Literal["images", "classes"]
    """What it is taken over: all images that were measured on, or all classes."""


class Section:
    """What a section says of itself. A subclass is a frozen dataclass of counts and measured numbers."""

    title: ClassVar[str]
    meaning: ClassVar[str]
    """What its figures are, in a line without a full stop."""
    is_of_cleaning: ClassVar[bool]
    """There where a model was cleaned and nowhere else; else in every report."""
    is_counted: ClassVar[bool]
    """Whether it has counts alone, of which a second audit finds the same."""

    def figures(self) -> Sequence[SectionFigure]:
        """In the order in which they are shown."""
        raise NotImplementedError


def section_fields(kind: type[Any]) -> Iterator[tuple[str, type[Section]]]:
    """The sections that documents of that class may have, by the name of their field."""
    hints = get_type_hints(kind)
    for one in fields(kind):
        for part in get_args(hints[one.name]):
            if isinstance(part, type) and issubclass(part, Section):
                yield one.name, part


def sections_of(document: Any) -> Iterator[tuple[str, Section]]:
    """The sections that a document has, by the name of their field."""
    for one in fields(document):
        if isinstance(section := getattr(document, one.name), Section):
            yield one.name, section
