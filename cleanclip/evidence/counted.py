"""Whether counts are what the rest of a report makes of them.

That no share counts more than there is, and what follows from counts, stands in `vocabulary.measures`.
"""

import math
from collections.abc import Iterator

from cleanclip.evidence.findings import Finding, misfit
from cleanclip.vocabulary.measures import Difference, Estimate

_TOLERANCE = 1e-9


def close(one: float, other: float) -> bool:
    """Equal but for the last digits."""
    return math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)


def same(where: str, reported: object, expected: object) -> Iterator[Finding]:
    """Whether a thing is what the rest of the report makes of it."""
    if reported != expected:
        shown = (
            f"is {reported}, not {expected}"
            if isinstance(reported, int | float)
            else "is not that of the rest"
        )
        yield misfit(where, shown)


def difference(where: str, lost: Difference, before: Estimate, after: Estimate) -> Iterator[Finding]:
    """What was lost between two shares of the same."""
    if not lost.leads(before, after):
        yield misfit(where, "does not lead from the counts before to those after")
