"""A vetting as text for people, from its report.json or from a job's result."""

from collections.abc import Mapping
from typing import Any

from cleanclip.command.formats import table
from cleanclip.vocabulary.verdicts import vet_headline


def vet(found: Mapping[str, Any]) -> str:
    """How many samples are set aside, by which scores, and how much of our own poison is among them."""
    aside = found.get("set_aside") or {}
    lines = [vet_headline(aside.get("num", 0), aside.get("of", 0))]
    lines.append(
        f"p-values against {found.get('num_calibration')} trusted samples"
        if found.get("basis") == "p_values"
        else "ranks only: no trusted samples were given"
    )
    by = found.get("decided_by") or {}
    rows = [
        (one["name"], by[one["name"]], _figure(one, "median"), _figure(one, "high"), one["num_decisive"])
        for one in found.get("scores") or ()
    ]
    if rows:
        lines += ["", table(("SCORE", "BY", "MEDIAN", "HIGHEST", "DECISIVE"), rows)]
    lines += [f"not computed: {one['name']}, {one['reason']}" for one in found.get("not_computed") or ()]
    for one in found.get("measured") or ():
        share = one["recall"]
        lines.append(
            f"wrong captions of our own that would be set aside: {100 * share['value']:.1f} % "
            f"(95 % {100 * share['low']:.1f} to {100 * share['high']:.1f} %, n = {share['n']})"
        )
    lines += [f"! {warning}" for warning in found.get("warnings") or ()]
    return "\n".join([*lines, str(found.get("what_it_says", ""))])


def _figure(score: Mapping[str, Any], name: str) -> str:
    """Of a job's result, or of a report, which has more quantiles."""
    value = score[name] if name in score else score["vetted"][name]
    return f"{value:.4g}"
