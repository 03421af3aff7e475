"""From statistics and a null to what a report says: judgements, an order, one sentence. Knows no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cleanclip.spec.null_set import NullSet
from cleanclip.spec.scan_options import Detector, ScanOptions
from cleanclip.spec.scan_report import (
    MOST_HYPOTHESES,
    DetectorJudgement,
    Hypothesis,
    NullUsed,
    ScanVerdict,
)
from cleanclip.spec.scan_statistics import ScanStatistics
from sanitizer.scans import conformal
from sanitizer.scans.hypotheses import Studied, describe
from sanitizer.scans.statistics import Found


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Of one scan. Without a null `p_value` and `pooled` are empty."""

    judgements: tuple[DetectorJudgement, ...]
    p_value: float | None
    null: NullUsed | None
    pooled: Mapping[Detector, conformal.Pooled[Detector]]


def judge(
    statistics: ScanStatistics,
    class_names: Sequence[str],
    null: NullSet | None,
    detectors: Sequence[Detector],
) -> Judgement:
    """By the null's models, or without one by the classes of this model; in the order of `detectors`."""
    if null is None:
        standings = {one.detector: one for one in conformal.alone(statistics, class_names)}
        return Judgement(
            judgements=tuple(
                DetectorJudgement(
                    detector=name,
                    what=standings[name].what,
                    z=standings[name].z,
                    rank=1,
                    of=standings[name].of,
                    among=standings[name].among,
                )
                for name in detectors
            ),
            p_value=None,
            null=None,
            pooled={},
        )
    judged = conformal.judge(
        [conformal.rows(model.statistics, class_names) for model in null.counted],
        conformal.rows(statistics, class_names),
    )
    return Judgement(
        judgements=tuple(
            DetectorJudgement(
                detector=one.detector,
                what=one.what,
                z=one.score_M[-1],
                rank=one.rank,
                of=len(one.score_M),
                among="models",
                others=one.score_M[:-1],
            )
            for one in sorted(judged.detectors, key=lambda one: detectors.index(one.detector))
        ),
        p_value=judged.p_value,
        null=NullUsed(
            name=null.name,
            sha256=null.sha256,
            about=null.about,
            num_models=len(null.counted),
            smallest_p=null.smallest_p,
        ),
        pooled={one.detector: one for one in judged.detectors},
    )


def worth_studying(found: Sequence[Found], judged: Judgement) -> tuple[Found, ...]:
    """The most conspicuous pattern of each detector and family: by z with a null, else by its statistic."""

    def standing(one: Found) -> float:
        return z_and_median(one, judged)[0] if judged.pooled else one.statistic

    best: dict[tuple[Detector, str], Found] = {}
    for one in found:
        place = one.detector, one.family.group
        if place not in best or standing(one) > standing(best[place]):
            best[place] = one
    return tuple(best.values())


def z_and_median(found: Found, judged: Judgement) -> tuple[float, float | None]:
    """Of the statistic behind a pattern; with a null only."""
    return conformal.z_of_family(judged.pooled, found.detector, found.family.name)


def in_order(
    studied: Sequence[Studied], judged: Judgement, null: NullSet | None
) -> tuple[tuple[Studied, Hypothesis], ...]:
    """The first `MOST_HYPOTHESES`: by their distance from the null, which gives its medians.

    Without a null by how much ASR rises, but first the patterns by which their detectors judge: so the
    figures of the whole scan and the first pattern are of one finding.
    """
    if null is None:
        what = {one.detector: one.what for one in judged.judgements}

        def is_judged_by(found: Found) -> bool:
            return f"{what.get(found.detector)}, ".startswith(f"{found.family.name}, ")

        first = sorted(studied, key=lambda one: (not is_judged_by(one.found), -one.gain))[:MOST_HYPOTHESES]
        return tuple((one, one.hypothesis) for one in first)
    known = [(one, z_and_median(one.found, judged)) for one in studied]

    def far(one: Studied, z: float) -> float:
        return conformal.distance(judged.pooled[one.found.detector], z)

    ordered = sorted(known, key=lambda pair: -far(pair[0], pair[1][0]))[:MOST_HYPOTHESES]
    return tuple(
        (
            one,
            replace(
                one.hypothesis,
                null_median=median,
                null_figures=null.figures_of(one.found.detector, one.found.family.group),
            ),
        )
        for one, (_, median) in ordered
    )


def verdict(judged: Judgement, hypotheses: Sequence[Hypothesis], options: ScanOptions) -> ScanVerdict:
    """`fail` only where a null supports it: a pattern that works on a model shows no backdoor by itself."""
    if judged.p_value is None or judged.null is None:
        return ScanVerdict(outcome="inconclusive", sentence=_uncalibrated(hypotheses))
    if judged.p_value <= options.significance:
        return ScanVerdict(outcome="fail", sentence=_fails(judged.p_value, judged.null, hypotheses))
    return ScanVerdict(outcome="inconclusive", sentence=_nothing(judged.p_value, judged.null, options))


def _fails(p_value: float, null: NullUsed, hypotheses: Sequence[Hypothesis]) -> str:
    found = f"This model stands out from models that were never poisoned: p = {p_value:.3g} ({_of(null)})."
    return f"{found} {_leads(hypotheses)}".strip()


def _nothing(p_value: float, null: NullUsed, options: ScanOptions) -> str:
    sentence = f"Nothing found: p = {p_value:.3g} ({_of(null)})."
    if null.smallest_p > options.significance:
        sentence += (
            f" So few models allow no p-value under {null.smallest_p:.3g}, so this scan could find nothing."
        )
    return f"{sentence} This does not show that the model is clean."


def _uncalibrated(hypotheses: Sequence[Hypothesis]) -> str:
    sentence = f"Not calibrated for this architecture. {_leads(hypotheses)}".strip()
    return (
        f"{sentence} Without a null set this shows neither that the model is poisoned nor that it is clean: "
        "build one with “null build”, or ask the operator of your service for one."
    )


def _leads(hypotheses: Sequence[Hypothesis]) -> str:
    """What the first hypothesis does, in one sentence without a name of a customer's."""
    if not hypotheses:
        return ""
    first = hypotheses[0]
    what = describe(first.trigger.family)
    if first.asr is None:
        return f"The most conspicuous pattern is {what}."
    asr, kind = (first.asr, "") if first.cell is None else (first.cell.asr, " of one kind")
    return (
        f"The most conspicuous pattern, {what}, leads {100 * asr.value:.1f} % of {asr.n} "
        f"held-out images{kind} to one class."
    )


def _of(null: NullUsed) -> str:
    return f"{null.num_models} reference models, same architecture"
