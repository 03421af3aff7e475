"""From statistics and a null to what a scan's report says: judgements, an order, one sentence. Free of torch.

Everything here follows from what was measured: the process that scans calls it, and the supervisor and
`cleanclip verify` call it again on the report that it left.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from statistics import median
from typing import TypeVar

from cleanclip.vocabulary import conformal
from cleanclip.vocabulary.control import CONTROL_LIMIT, controlling, is_judged
from cleanclip.vocabulary.image_edits import Edit
from cleanclip.vocabulary.intervals import wilson
from cleanclip.vocabulary.null_set import NullSet, NullUsed
from cleanclip.vocabulary.scan_options import Detector, PatternFamily, ScanOptions
from cleanclip.vocabulary.scan_report import MOST_HYPOTHESES, DetectorJudgement, Hypothesis, ScanReport
from cleanclip.vocabulary.scan_statistics import CollapseFigures, ScanStatistics


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A pattern that a detector inverted, or an edit, as its statistics say. `target` is a class number, None
    without class names; `statistic` is what the detector measured of it, of `residual` a logarithm, of
    `edits` a rise, else 0 to 1."""

    detector: Detector
    family: PatternFamily | Edit
    target: int | None
    statistic: float
    cell: int = 0
    """Of `residual`, where the edit is answered; 0: in all images."""
    restart: int = 0
    """Of `collapse`, which of the family's patterns it is."""


MAD_TO_STD = 1.4826
Found = TypeVar("Found", bound=Candidate)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Of one scan. Without a null `p_value` and `pooled` are empty."""

    judgements: tuple[DetectorJudgement, ...]
    p_value: float | None
    null: NullUsed | None
    pooled: Mapping[Detector, conformal.Pooled[Detector]]

    def fails(self, options: ScanOptions) -> bool:
        """Whether the null sets the model apart."""
        return self.p_value is not None and self.p_value <= options.significance


def candidates(statistics: ScanStatistics) -> tuple[Candidate, ...]:
    """Of each family of `collapse` one pattern; of a detector of edits every edit: which of them counts, the
    null says."""
    rises = () if statistics.edits is None else statistics.edits.edits
    values = () if statistics.residual is None else statistics.residual.edits
    return (
        *filter(None, map(_of_collapse, statistics.collapse)),
        *(
            Candidate(detector="edits", family=one.edit, target=one.towards, statistic=one.rise)
            for one in rises
        ),
        *(
            Candidate(
                detector="residual", family=one.edit, target=one.towards, statistic=one.value, cell=one.cell
            )
            for one in values
        ),
    )


def _of_collapse(figures: CollapseFigures) -> Candidate | None:
    """The restart of one family that collapses the most, of those that lead to the agreed class; but the one
    that controls the model, if one does: it is what the outcome is about."""
    if (controls_by := _controlling_restart(figures)) is not None:
        return _candidate(figures, controls_by, figures.restarts[controls_by].towards)
    agreeing = [
        number
        for number, restart in enumerate(figures.restarts)
        if restart.towards == figures.agreed_class  # both None without class names
    ]
    best = max(agreeing, key=lambda number: figures.restarts[number].values[-1], default=None)
    if best is None:
        return None
    return _candidate(figures, best, figures.agreed_class)


def _controlling_restart(figures: CollapseFigures) -> int | None:
    """The one that leads the most images to one class, if that controls the model."""
    if figures.agreed_class is None or not is_judged(figures.family):
        return None
    towards, sent = figures.most_sent
    if wilson(sent, figures.n)[0] <= CONTROL_LIMIT:
        return None
    led = [(one.towards, one.num_sent) for one in figures.restarts]
    return led.index((towards, sent))


def _candidate(figures: CollapseFigures, restart: int, target: int | None) -> Candidate:
    statistic = figures.restarts[restart].values[-1] if figures.agreement is None else figures.agreement
    return Candidate(
        detector="collapse", family=figures.family, target=target, statistic=statistic, restart=restart
    )


def judge(
    statistics: ScanStatistics, num_classes: int, null: NullSet | None, detectors: Sequence[Detector]
) -> Judgement:
    """By the null's models, or without one by the classes of this model; in the order of `detectors`.

    Raises LookupError, ValueError where they were not measured alike, or not by these detectors.
    """
    if null is None:
        standings = {one.detector: one for one in alone(statistics, num_classes)}
        return Judgement(
            judgements=tuple(standings[name] for name in detectors), p_value=None, null=None, pooled={}
        )
    judged = conformal.judge(
        [conformal.rows(model.statistics) for model in null.counted], conformal.rows(statistics)
    )
    return Judgement(
        judgements=tuple(
            DetectorJudgement(
                detector=one.detector,
                what=one.what,
                z=one.score_M[-1],
                of=len(one.score_M),
                among="models",
                others=one.score_M[:-1],
            )
            for one in sorted(judged.detectors, key=lambda one: detectors.index(one.detector))
        ),
        p_value=judged.p_value,
        null=null.used,
        pooled={one.detector: one for one in judged.detectors},
    )


def alone(statistics: ScanStatistics, num_classes: int) -> list[DetectorJudgement]:
    """Each detector of a model without a null: how far its most conspicuous class or edit is from the others.
    Not a p-value: clean models score high, too."""
    return [
        _collapse_alone(statistics, num_classes) if name == "collapse" else _edits_alone(name, value_of)
        for name, value_of in conformal.rows(statistics).items()
    ]


def _collapse_alone(statistics: ScanStatistics, num_classes: int) -> DetectorJudgement:
    """How far restarts agree on one class: chance is 1 / C, with the spread of so many restarts. Without
    class names nothing can be compared: z is 0."""
    agreed = [one for one in statistics.collapse if one.agreement is not None]
    if not agreed:
        return DetectorJudgement(detector="collapse", what="no class names", z=0.0, of=1, among="models")
    one = max(agreed, key=lambda figures: figures.agreement or 0.0)
    chance, agreement = 1 / max(1, num_classes), one.agreement or 0.0
    spread = max(conformal.FLOOR, (chance * (1 - chance) / len(one.restarts)) ** 0.5)
    what = f"{one.family.name}, agreement"
    z = (agreement - chance) / spread
    return DetectorJudgement(detector="collapse", what=what, z=z, of=num_classes, among="classes")


def _edits_alone(detector: Detector, value_of: Mapping[str, float]) -> DetectorJudgement:
    """The largest (value - median) / (1.4826 MAD) of all edits: the anomaly index of Neural Cleanse (Wang et
    al., S&P 2019)."""
    scores = zip(_mad_scores(list(value_of.values())), value_of, strict=True)
    z, what = max(scores, key=lambda pair: pair[0])  # the first of equals, as `judging.worth_studying`
    return DetectorJudgement(detector=detector, what=what, z=z, of=len(value_of), among="edits")


def _mad_scores(values: Sequence[float]) -> list[float]:
    middle = median(values)
    spread = median(abs(value - middle) for value in values)
    return [(value - middle) / max(conformal.FLOOR, MAD_TO_STD * spread) for value in values]


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


def z_and_median(found: Candidate, judged: Judgement) -> tuple[float, float | None]:
    """Of the statistic behind a pattern; with a null only."""
    return conformal.z_of_family(judged.pooled, found.detector, found.family.name)


def in_order(
    found: Sequence[Found],
    judged: Judgement,
    gain_of: Callable[[Found], float],
    controlling: PatternFamily | None = None,
    *,
    fails: bool = False,
) -> list[Found]:
    """The first `MOST_HYPOTHESES`, the most conspicuous first: by their distance from the null.

    Without a null by how much ASR rises, but first the patterns by which their detectors judge: so the
    figures of the whole scan and the first pattern are of one finding. One of the family `controlling`, if
    any controls the model, is always among them, and the first unless the scan `fails`: what the outcome is
    about is shown, and an audit can judge it.
    """
    what = {one.detector: one.what for one in judged.judgements}

    def place(one: Found) -> tuple[bool, float]:
        if judged.pooled:
            return True, -conformal.distance(judged.pooled[one.detector], z_and_median(one, judged)[0])
        return not f"{what.get(one.detector)}, ".startswith(f"{one.family.name}, "), -gain_of(one)

    ordered = sorted(found, key=place)
    controls = [one for one in ordered if one.family == controlling][:1]
    if not fails:
        return (controls + [one for one in ordered if one not in controls])[:MOST_HYPOTHESES]
    late = [one for one in controls if one not in ordered[:MOST_HYPOTHESES]]
    return ordered[: MOST_HYPOTHESES - len(late)] + late


def placed(one: Hypothesis, found: Candidate, judged: Judgement, null: NullSet | None) -> Hypothesis:
    """What was studied, with all that its statistic and the null say of it. Raises ValueError where it is not
    what its detector measured."""
    cell = None if one.cell is None else one.cell.number
    expected = found.cell or None if found.target is not None else None
    if (one.target is None) != (found.target is None) or cell != expected:
        raise ValueError(f"{one.trigger.family.name} does not lead where its detector measured it to lead")
    return replace(
        one,
        statistic=found.statistic,
        null_median=None if null is None else z_and_median(found, judged)[1],
        null_figures=None if null is None else null.figures_of(found.detector, found.family.group),
    )


def rejudged(report: ScanReport, null: NullSet | None) -> ScanReport:
    """The report, with all that its statistics and the null say worked out again: judgements, the order of
    the patterns, the null's figures of them.

    Raises ArithmeticError, LookupError, ValueError where nothing follows: the null's models were measured
    otherwise, or the patterns are not the first of those that the detectors measured.
    """
    judged = judge(report.statistics, report.num_classes, null, report.options.detectors)
    shown = {(one.detector, one.trigger.family): one for one in report.hypotheses}

    def gain_of(found: Candidate) -> float:
        one = shown.get((found.detector, found.family))
        return -inf if one is None else one.gain

    studied = worth_studying(candidates(report.statistics), judged)
    fails = judged.fails(report.options)
    first = in_order(studied, judged, gain_of, controlling(report.control), fails=fails)
    if len(report.hypotheses) != len(first):
        raise ValueError("there are other patterns than the detectors measured")
    hypotheses = tuple(placed(shown[one.detector, one.family], one, judged, null) for one in first)
    return replace(
        report,
        judgements=judged.judgements,
        null=judged.null and replace(judged.null, chosen=None if report.null is None else report.null.chosen),
        hypotheses=hypotheses,
    )
