"""A ladder as it stands in a page: rows of its looks, and words. Computes nothing but "100 times"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cleanclip.spec.auto_figures import AutoFigures, RungEnd, UniversalShare, Validated
from cleanclip.spec.choosing import Judge, on_front, worst
from cleanclip.spec.ladder import WhyLeftOut
from cleanclip.spec.report import Report
from cleanclip.spec.strangers import name
from sanitizer.rendering.table_rows import Share

ENDS: dict[RungEnd, str] = {
    "policy_met": "ended the ladder",
    "finished": "no further look",
    "diverged": "the training diverged",
    "budget": "the budget ended",
    "not_needed": "not needed",
}
WHY: dict[WhyLeftOut, str] = {
    "needs_captions": "needs captions",
    "needs_labels": "needs labelled images to train on",
}


@dataclass(frozen=True, kw_only=True)
class LookRow:
    """One model that was measured. `lost` and `asr` with their places in the report; words where there is no
    share."""

    title: str
    is_chosen: bool
    is_on_front: bool
    lost_path: str
    ca: Share
    asr: Share | None
    asr_of: str
    unknown: Share | None
    unknown_of: str
    seconds: str


@dataclass(frozen=True, kw_only=True)
class Unmeasured:
    """A rung without a look, and why."""

    title: str
    why: str


def judge_of(report: Report, auto: AutoFigures) -> Judge:
    """What the looks were held against."""
    return Judge(
        before=auto.before,
        attacks=report.audit.attacks,
        policy=report.policy,
        gate=report.audit.gate,
    )


def rows(report: Report) -> list[LookRow]:
    """The input model first, then the looks in their order; empty where no ladder was ordered."""
    auto = report.auto
    if auto is None:
        return []
    judge = judge_of(report, auto)
    front = on_front(auto.rungs, judge)
    found = [_row(report, judge, auto.before, "auto.before", title="input model")]
    for number, rung in enumerate(auto.rungs):
        for place, look in enumerate(rung.looks):
            path = f"auto.rungs.{number}.looks.{place}"
            end = f", {ENDS[rung.end]}" if place == len(rung.looks) - 1 else ""
            found.append(
                _row(
                    report,
                    judge,
                    look.figures,
                    f"{path}.figures",
                    title=f"{rung.name}, after epoch {look.epoch} of {rung.recipe.epochs}{end}",
                    lost_path=f"{path}.ca_lost",
                    is_chosen=(number, place) == (auto.choice.rung, auto.choice.look),
                    is_on_front=(number, place) in front,
                    seconds=f"{look.seconds:.1f}",
                )
            )
    return found


def unmeasured(report: Report) -> list[Unmeasured]:
    """Rungs without a look, and those that the training data do not allow."""
    if report.auto is None:
        return []
    without = [Unmeasured(title=one.name, why=ENDS[one.end]) for one in report.auto.rungs if not one.looks]
    return [*without, *(Unmeasured(title=one.name, why=WHY[one.why]) for one in report.auto.left_out)]


def in_words(report: Report) -> Iterator[str]:
    """A line for each look, for a terminal: the worst upper bounds, and which was chosen."""
    for row in rows(report):
        mark = "→" if row.is_chosen else " "
        asr = f"worst ASR {row.asr.percent} ({row.asr_of})" if row.asr else "no attack worked"
        unknown = f", to one class {row.unknown.percent} ({row.unknown_of})" if row.unknown else ""
        yield f"{mark} {row.title}: CA {row.ca.percent}, {asr}{unknown}"


def _row(
    report: Report,
    judge: Judge,
    figures: Validated,
    path: str,
    *,
    title: str,
    lost_path: str = "",
    is_chosen: bool = False,
    is_on_front: bool = False,
    seconds: str = "",
) -> LookRow:
    number = judge.worst_attack(figures)
    asr = (
        None
        if number is None
        else Share(path=f"{path}.attacks.{number}.asr", estimate=figures.attacks[number].asr)
    )
    sent, sent_path = _worst_unknown(figures, path)
    return LookRow(
        title=title,
        is_chosen=is_chosen,
        is_on_front=is_on_front,
        lost_path=lost_path,
        ca=Share(path=f"{path}.ca", estimate=figures.ca),
        asr=asr,
        asr_of="" if number is None else name(report.before.attacks[number].name),
        unknown=None if sent is None else Share(path=f"{sent_path}.moved", estimate=sent.moved),
        unknown_of="" if sent is None else f"{sent.name}, to {name(sent.class_name)}",
        seconds=seconds,
    )


def _worst_unknown(figures: Validated, path: str) -> tuple[UniversalShare | None, str]:
    kinds: tuple[tuple[str, Sequence[UniversalShare]], ...] = (
        ("surrogates", figures.surrogates),
        ("patterns", figures.patterns),
    )
    found = worst([*figures.surrogates, *figures.patterns])
    for kind, shares in kinds:
        if found and found[0] in shares:
            return found[0], f"{path}.{kind}.{shares.index(found[0])}"
    return None, ""
