"""What lists of jobs carry of a report, in the forms that several kinds share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cleanclip.spec.control import Strongest
from cleanclip.spec.recipe import to_json

_MAX_WARNINGS, _MAX_WARNING_CHARACTERS = 20, 1000
"""In the job's row and so in every list; the report has all."""


def shown_warnings(warnings: Sequence[str]) -> list[str]:
    """The first, cut."""
    return [warning[:_MAX_WARNING_CHARACTERS] for warning in warnings[:_MAX_WARNINGS]]


def shown_control(one: Strongest) -> dict[str, Any]:
    """As the API shows it, of a scan and of a cleaning."""
    return to_json(one) | {"family": one.family.name, "judged": one.is_judged}
