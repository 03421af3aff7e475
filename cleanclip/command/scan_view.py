"""A scan as text for people, from its report.json or from a job's result."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter

from cleanclip.command.formats import table
from cleanclip.vocabulary.control import ON_OUR_MODELS, Search, is_judged
from cleanclip.vocabulary.image_edits import Edit
from cleanclip.vocabulary.scan_options import PatternFamily
from cleanclip.vocabulary.scan_report import WHO_MEASURED
from cleanclip.vocabulary.verdicts import scan_headline

_SEARCH: TypeAdapter[Search] = TypeAdapter(Search)
_FAMILY: TypeAdapter[PatternFamily | Edit] = TypeAdapter(PatternFamily | Edit)


def scan(found: Mapping[str, Any]) -> str:
    """Verdict, p-value, and the triggers that were found."""
    verdict, null = found.get("verdict") or {}, found.get("null") or {}
    headed = scan_headline(verdict.get("outcome", "inconclusive"), has_null=bool(null))
    lines = [f"{headed}.", str(verdict.get("sentence", ""))]
    if found.get("p_value") is None:
        lines.append("no p-value: no null fits this scan; ranks only")
    else:
        by = f"the null '{null.get('name')}' of {null.get('num_models')} models"
        lines.append(f"p = {found['p_value']:.4g}, by {by}")
    lines += [
        f"{one['detector']}, {one['what']}: rank {one['rank']} of {one['of']}, z = {one['z']:.3g}"
        for one in found.get("judgements") or ()
    ]
    lines += control(found.get("control") or ())
    rows = [
        (_family(one), _target(one), _share(one, "asr"), _share(one, "pa"), _clean(one))
        for one in found.get("hypotheses") or ()
    ]
    if rows:
        lines += ["", WHO_MEASURED, table(("TRIGGER", "TARGET", "ASR", "PA", "CLEAN MODELS' ASR, PA"), rows)]
    return "\n".join([*lines, *(f"! {warning}" for warning in found.get("warnings") or ())])


def control(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the strongest pattern of each family does; empty where none was searched."""
    led = [
        (searched(one), _share(one, "led"), _share(one, "without"), str(one["class_name"])) for one in found
    ]
    columns = ("STRONGEST PATTERN", "LEADS TO ONE CLASS", "WITHOUT IT", "CLASS")
    return ["", ON_OUR_MODELS, table(columns, led)] if led else []


def searched_again(reported: Any) -> list[str]:
    """Of cleaned weights, from report.json, which says how hard it looked, or from a job's result."""
    if not isinstance(reported, Mapping):
        return control(reported)
    search = _SEARCH.validate_python(reported)
    return ["", search.sentence, *control(reported.get("families") or ())]


def searched(one: Mapping[str, Any]) -> str:
    """A job's result says whether the family is judged; of report.json it follows from the family."""
    judged = one.get("judged")
    if judged is None:
        family = _FAMILY.validate_python(one["family"])
        judged = isinstance(family, PatternFamily) and is_judged(family)
    name = _name(one["family"])
    return name if judged else f"{name} (not judged)"


def _family(hypothesis: Mapping[str, Any]) -> str:
    """A job's result names it; report.json has it whole."""
    return _name(hypothesis.get("family") or hypothesis["trigger"]["family"])


def _name(family: Any) -> str:
    return family if isinstance(family, str) else _FAMILY.validate_python(family).name


def _target(hypothesis: Mapping[str, Any]) -> str:
    words = [one if isinstance(one, str) else str(one["word"]) for one in hypothesis.get("words") or ()]
    return str(hypothesis.get("target") or ", ".join(words[:3]) or "-")


def _clean(hypothesis: Mapping[str, Any]) -> str:
    """Medians of the null's models."""
    found = hypothesis.get("null_figures")
    if found is None:
        return "-"
    return f"{100 * found['asr']:.1f} %, {100 * found['pa']:.1f} % (n = {found['num_models']})"


def _share(hypothesis: Mapping[str, Any], name: str) -> str:
    share = hypothesis.get(name)
    return "-" if share is None else f"{100 * share['value']:.1f} % (n = {share['n']})"
