"""The sentences of a report for people: question, verdict, what was not tested. Strings only.

Where an attack's ASR before cleaning was under the gate, no sentence claims that anything was done to it.
Names are untrusted: they come through `untrusted.name`; who puts a sentence into a page escapes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cleanclip.vocabulary.attack_options import kind_of
from cleanclip.vocabulary.judging import SEARCHED
from cleanclip.vocabulary.judging_found import FoundLimits
from cleanclip.vocabulary.report import Report
from cleanclip.vocabulary.report_kinds import AnyReport
from cleanclip.vocabulary.untested import KNOWN_TRIGGERS, quoted, targets_of
from cleanclip.vocabulary.untrusted import name
from cleanclip.vocabulary.verdict_texts import NO_ORIGIN, NOT_JUDGED, of_search
from cleanclip.vocabulary.verdicts import MEANINGS, Mood, Outcome

CUSTOM_TRIGGERS = {
    "custom_patch": "an image that was sent with the order, as a patch",
    "custom_pattern": "an image that was sent with the order, blended into the whole image",
}
METHODS = {
    "cleanclip": "CleanCLIP on clean images with captions",
    "par": "PAR on clean images with captions",
    "uar": "UAR on clean images",
    "supervised": "supervised training on clean labelled images",
}
"""By what it was fine-tuned."""


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The verdict in a label and one sentence."""

    label: str
    mood: Mood
    sentence: str


def signing(report: AnyReport) -> str:
    """What the short page says of its signature. `cleanclip verify` checks the folder of a job only."""
    if report.origin is None:
        return (
            "`python -m sanitizer` wrote this file on its own: it is not signed, and nobody vouches for it."
        )
    return "This file is not signed by itself: `cleanclip verify FOLDER` checks its folder."


def listed(values: Sequence[str], most: int = 50) -> list[str]:
    """The first of them, and how many more there are."""
    more = len(values) - most
    return [*values[:most], *([f"{more} more in report.json"] if more > 0 else [])]


def question(report: Report) -> str:
    """What was asked: of as many triggers as the headline counts."""
    targets = targets_of(report.audit)
    num_judged = report.before.num_triggers(report.verdict.attacks)
    match num_judged:
        case 0:
            triggers = "a trigger that only the scan found"
        case 1:
            triggers = "the trigger tested"
        case _:
            triggers = f"any of the {num_judged} triggers tested"
    called = quoted(targets) if len(targets) == 1 else f"its target ({quoted(targets)})"
    asked = f"Does {triggers} make this model call images {called}"
    if not report.is_cleaning:
        return f"{asked}? The model was not changed."
    points = 100 * report.policy.ca_lost_at_most
    return (
        f"{asked}, and does cleaning bring its success rate to {100 * report.policy.asr_at_most:g} % or less"
        f"{other_limits(report)} without costing more than {points:g} points of clean accuracy?"
    )


def other_limits(report: Report) -> str:
    """ " (structured 20 %, found patterns that controlled it 80 %)": limits on ASR that are not the one."""
    others = [f"{what} {100 * limit:g} %" for what, limit in report.policy.asr_at_most_for.items()]
    found = FoundLimits.of(report.before, report.policy, report.scan)
    if any(map(found.only_controls, found.controlled)):
        others.append(f"found patterns that controlled it {100 * report.policy.controlled_at_most:g} %")
    return f" ({', '.join(others)})" if others else ""


def whose_options(report: Report) -> str:
    """Which options of the recipe were given, and where the others are from; "" if not known."""
    source, recipe = report.recipe_source, report.recipe
    return "" if source is None or recipe is None else source.sentences(recipe)


def whose_limits(report: Report) -> str:
    """Where the limits came from."""
    source = report.policy_source
    match source.given:
        case "default":
            return "The limits are the defaults: none were given."
        case "order":
            return f"The limits were given with the order (SHA-256 {source.sha256})."
        case "kept":
            return (
                f"The limits are those that the policy “{source.name}” had when the job was ordered "
                f"(SHA-256 {source.sha256})."
            )


def settled(report: Report) -> list[tuple[str, str]]:
    """Each setting that tensors cannot tell, its value and by what it is known."""
    return [(one.option, f"{one.value} ({one.known_by})") for one in report.architecture.settings[:50]]


def headline(report: Report) -> Headline:
    """The verdict, and of which triggers."""
    outcome = report.verdict.outcome
    rest = "" if outcome == "inconclusive" else _rest(report)
    limits = FoundLimits.of(report.before, report.policy, report.scan)
    compared = report.before, report.after, report.verdict.attacks
    sentences = (
        limits.failing(*compared),
        _sentence(report) + rest + _spared(report),
        of_search(outcome, report.verdict.control, report.control),
        limits.passing(*compared),
    )
    return Headline(
        label=report.headline,
        mood=MEANINGS[outcome].mood,
        sentence=" ".join(filter(None, map(str.strip, sentences))),
    )


def _sentence(report: Report) -> str:
    is_cleaned, reported = report.is_cleaning, report.verdict
    failed, passed = _named(report, "fail"), _named(report, "pass")
    tested = "tested and judged" if _spared(report) else "tested"
    match reported.outcome:
        case "fail" if is_cleaned:
            return _not_cleaned(report, failed, passed)
        case "fail":
            return f"Triggered images go to one class more often than the gate or the limit allows: {failed}."
        case "controlled":
            return f"One pattern controls this model: {_named(report, 'controlled')}. {NO_ORIGIN}"
        case "undecided":
            parts = [part for part in (reported.clean_accuracy,) if part and part.outcome == "undecided"]
            further = [f"{one} after benign fine-tuning" for one in _rebounds(report, "undecided")]
            if reported.control is not None and reported.control.outcome == "undecided":
                further.append(SEARCHED)
            names = [*_names(report, "undecided"), *(["clean accuracy"] if parts else []), *further]
            open_ones = ", ".join(names)
            return f"More images would decide: {open_ones}."
        case "inconclusive" if is_cleaned:
            return (
                f"None of the triggers {tested} worked on this model before cleaning, so the "
                "cleaning shows nothing. The model may still have a backdoor with another trigger."
            )
        case "inconclusive":
            limit = ", or is shown to be over its limit" if reported.limits_below_gate else ""
            return (
                f"None of the triggers {tested} reaches the gate{limit}. The model may still have a backdoor "
                "with another trigger."
            )
        case "pass":
            works = "triggers {} no longer work" if ", " in passed else "trigger {} no longer works"
            stayed = " Benign fine-tuning did not bring them back." if report.verdict.rebound else ""
            return f"The {works.format(passed)} beyond the limit, and clean accuracy was kept.{stayed}"


def _not_cleaned(report: Report, failed: str, passed: str) -> str:
    accuracy = report.verdict.clean_accuracy
    costs = " Clean accuracy fell by more than the limit." if accuracy and accuracy.outcome == "fail" else ""
    if back := ", ".join(_rebounds(report, "fail")):
        costs += f" After benign fine-tuning the attack success rate is over the limit: {back}."
    if failed:
        return f"After cleaning the attack success rate is still over the limit: {failed}.{costs}"
    return f"{costs.strip()}{f' ASR is within its limit: {passed}.' if passed else ''}"


def _spared(report: Report) -> str:
    names = ", ".join(name(part.attack) for part in report.verdict.attacks if not part.judged)
    return f" {names}: {NOT_JUDGED[0].lower()}{NOT_JUDGED[1:]}" if names else ""


def _rest(report: Report) -> str:
    names = _named(report, "inconclusive")
    return f" Inconclusive: {names}." if names else ""


def _names(report: Report, outcome: Outcome) -> list[str]:
    parts = report.verdict.attacks
    return [name(part.attack) for part in parts if part.outcome == outcome and part.judged]


def _rebounds(report: Report, outcome: Outcome) -> list[str]:
    return [name(part.attack) for part in report.verdict.rebound if part.outcome == outcome]


def _named(report: Report, outcome: Outcome) -> str:
    return ", ".join(_names(report, outcome))


def time(moment: datetime) -> str:
    """2026-01-31 23:59:59 UTC; a time without a zone is shown as it is."""
    reported = moment.astimezone(UTC) if moment.tzinfo else moment
    return f"{reported:%Y-%m-%d %H:%M:%S}{' UTC' if moment.tzinfo else ''}"


def trigger(report: Report, number: int) -> str:
    """What the trigger of that number is, in a few words."""
    if report.scan is not None and (family := report.scan.family_of(number)) is not None:
        return f"{family}, found by the scan"
    kind = kind_of(report.audit.attacks[number])
    return {**KNOWN_TRIGGERS, **CUSTOM_TRIGGERS}.get(kind, kind)


def withheld(report: Report) -> str:
    """What the figures on the withheld images are; empty where there are none."""
    if report.withheld is None:
        return ""
    return (
        f"The same on {report.withheld.num_samples:,} more images, which the job's process never had; a "
        f"process that began after it measured them (seed {report.withheld.seed}). The worse verdict holds."
    )
