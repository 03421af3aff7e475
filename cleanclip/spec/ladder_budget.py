"""Whether a rung of a ladder is begun, from the figures of the rungs before it alone. The library decides by
this, and `cleanclip verify` decides again. Knows no model.

A rung of another method than those before it is begun while there are seconds left, and cut off when they are
over: nothing tells how long it takes. Of the same method its first look is foretold by the pace at which the
rungs before it trained, looks not counted.
"""

from __future__ import annotations

from collections.abc import Sequence

from cleanclip.spec.auto_figures import RungEnd, RungFigures
from cleanclip.spec.ladder import Rung


def end_before(earlier: Sequence[RungFigures], rung: Rung, left_s: float | None) -> RungEnd | None:
    """Why the rung is not begun; None: it is. `left_s`: of the budget; None where there is none."""
    if any(one.end in ("policy_met", "not_needed") for one in earlier):
        return "not_needed"
    if left_s is None:
        return None
    if left_s <= 0:
        return "budget"
    paces = [
        one.looks[-1].trained_s / max(1, one.looks[-1].epoch)
        for one in earlier
        if one.looks and one.recipe.method == rung.recipe.method
    ]
    return "does_not_fit" if min(paces, default=0.0) * rung.looks[0] > left_s else None
