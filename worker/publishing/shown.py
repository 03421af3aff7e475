"""What lists of jobs carry of a report's sentences."""

from __future__ import annotations

from collections.abc import Sequence

_MAX_WARNINGS, _MAX_WARNING_CHARACTERS = 20, 1000
"""In the job's row and so in every list; the report has all."""


def shown_warnings(warnings: Sequence[str]) -> list[str]:
    """The first, cut."""
    return [warning[:_MAX_WARNING_CHARACTERS] for warning in warnings[:_MAX_WARNINGS]]
