"""What the rows of jobs, and so lists of them, carry of a report."""

from collections.abc import Sequence
from typing import Any

from cleanclip.vocabulary.attack_options import without_image
from cleanclip.vocabulary.audit_figures import AuditFigures
from cleanclip.vocabulary.control import Strongest
from cleanclip.vocabulary.rebound_figures import ReboundFigures
from cleanclip.vocabulary.recipe import to_json

_MAX_WARNINGS, _MAX_WARNING_CHARACTERS = 20, 1000
"""In the job's row and so in every list; the report has all."""


def shown_warnings(warnings: Sequence[str]) -> list[str]:
    """The first, cut."""
    return [warning[:_MAX_WARNING_CHARACTERS] for warning in warnings[:_MAX_WARNINGS]]


def shown_control(one: Strongest) -> dict[str, Any]:
    """As the API shows it, of a scan and of a cleaning."""
    return to_json(one) | {"family": one.family.name, "judged": one.is_judged}


def shown_rebound(rebound: ReboundFigures) -> dict[str, Any]:
    """As the API shows it: without points, of which there may be many."""
    found = to_json(rebound)
    sides = [side for one in found["relearned"] for side in (one["old"], one["fresh"]) if side]
    for part in (*found["curves"], *sides, *filter(None, [found["interpolation"]])):
        del part["points"]
    for side in sides:
        side["options"] = without_image(side["options"])
    return found


def shown_figures(audit: AuditFigures) -> dict[str, Any]:
    """As the API shows them: without the bytes of images and without a share for each of many classes."""
    found = to_json(audit)
    del found["ca_per_class"]
    return {
        **found,
        "attacks": [{**one, "options": without_image(one["options"])} for one in found["attacks"]],
    }
