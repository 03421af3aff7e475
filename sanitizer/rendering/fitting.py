"""What has to fit in a report beside its shares before it is drawn: targets, ranks, drift. Reads no file."""

from __future__ import annotations

from collections.abc import Iterator

from cleanclip.spec.report import AuditFigures, Estimate, RankDistribution, Report, TargetFigures
from sanitizer.audits.statistics import MAX_DISTANCE, distance_interval
from sanitizer.rendering.counted import MAX_COUNT, follows

Misfit = tuple[str, str]
"""Where, and what is wrong there."""
_TOLERANCE = 1e-9


def targets(report: Report) -> Iterator[Misfit]:
    """Each attack's target is the one that was ordered, and each further one has its floor."""
    ordered = [attack.target or report.audit.target for attack in report.audit.attacks]
    further = [target for target in dict.fromkeys(ordered) if target != report.audit.target]
    for side, audit in (("before", report.before), ("after", report.after)):
        if audit is None:
            continue
        told = [attack.target or report.audit.target for attack in audit.attacks]
        if told != ordered:
            yield f"{side}.attacks", "are not of the targets that were ordered"
        if [one.target for one in audit.further_targets] != further:
            yield f"{side}.further_targets", "are not those of its attacks"


def classes(report: Report) -> Iterator[Misfit]:
    """Clean accuracy by class: shares from their counts, together CA, the same pictures before and after."""
    for side, audit in (("before", report.before), ("after", report.after)):
        if audit is None or not audit.ca_per_class:
            continue
        shares = [one.accuracy for one in audit.ca_per_class]
        if not all(follows(share) and share.n > 0 for share in shares):
            yield f"{side}.ca_per_class", "does not follow from its counts"
        counted = sum(share.n for share in shares), sum(share.successes for share in shares)
        if counted != (audit.ca.n, audit.ca.successes):
            yield f"{side}.ca_per_class", "counts other pictures than ca"
    if report.after is not None:
        before, after = (
            [(one.class_name, one.accuracy.n) for one in audit.ca_per_class]
            for audit in (report.before, report.after)
        )
        if before != after:
            yield "after.ca_per_class", "is not of the classes and pictures of before"


def settings(report: Report) -> Iterator[Misfit]:
    """How settings were settled: shares from their counts, margins within their intervals."""
    told = report.architecture
    if told is None:
        return
    shares = [] if told.ca is None else [told.ca]
    for index, setting in enumerate(told.settings):
        shares += [one.ca for one in (setting.chosen, setting.runner_up) if one is not None]
        margin = setting.margin
        if margin is not None and not (margin.n == told.n and margin.low <= margin.mean <= margin.high):
            yield f"architecture.settings[{index}].margin", "lies outside of its interval"
    if not all(follows(share) and share.n == told.n for share in shares):
        yield "architecture", "has an accuracy that does not follow from its counts"


def linear_probe(report: Report) -> Iterator[Misfit]:
    """There where it was ordered, of the images that the other figures are of, each share from its counts."""
    is_ordered = report.audit.linear_probe is not None
    for side, audit in (("before", report.before), ("after", report.after)):
        if audit is None:
            continue
        told = [audit.linear_probe, *(attack.linear_probe for attack in audit.attacks)]
        if any((one is not None) != is_ordered for one in told):
            yield f"{side}.linear_probe", "is there exactly where it was ordered"
        shares = [(audit.linear_probe.accuracy, audit.ca.n)] if audit.linear_probe else []
        for attack in audit.attacks:
            if attack.linear_probe is not None:
                found, others = attack.linear_probe, attack.asr.n
                shares += [
                    (found.asr, others),
                    (found.untriggered_target_rate, others),
                    (found.pa, audit.ca.n),
                ]
        if any(share.n != n or not follows(share) for share, n in shares):
            yield f"{side}.linear_probe", "does not follow from its counts"


def ranks(report: Report) -> Iterator[Misfit]:
    """Told of every target or of none; each in order, of as many images as the share beside it."""
    nums = [data.num_classes for data in report.data if data.kind == "labelled"]
    last = min((num for num in nums if num is not None), default=MAX_COUNT)
    audits = [audit for audit in (report.before, report.after) if audit is not None]
    told = [pair for audit in audits for pair in _all_ranks(audit)]
    if len({rank is None for rank, _ in told}) > 1:
        yield "target_rank", "is told of some targets only"
    for rank, share in told:
        if rank is None:
            continue
        is_in_order = 1 <= rank.low <= rank.median <= rank.high <= last
        has_quartiles = 1 <= rank.first_quartile <= rank.median <= rank.third_quartile <= last
        if rank.n != share.n or not (is_in_order and has_quartiles):
            yield "target_rank", "holds places that cannot be those of the images"


def _all_ranks(audit: AuditFigures) -> list[tuple[RankDistribution | None, Estimate]]:
    floors: list[AuditFigures | TargetFigures] = [audit, *audit.further_targets]
    return [
        *((one.untriggered_target_rank, one.untriggered_target_rate) for one in floors),
        *((attack.target_rank, attack.asr) for attack in audit.attacks),
    ]


def drift(report: Report) -> Iterator[Misfit]:
    """Belongs to a cleaning; each mean has the interval that follows from it."""
    if report.drift is None:
        return
    if report.after is None:
        yield "drift", "belongs to a cleaning"
    for where, told in (("drift.images", report.drift.images), ("drift.classes", report.drift.classes)):
        is_distance = 0 <= told.mean <= MAX_DISTANCE and 0 <= told.std <= MAX_DISTANCE
        if not (is_distance and 0 < told.n <= MAX_COUNT):
            yield where, "cannot be a distance of unit embeddings"
            continue
        low, high = distance_interval(told.mean, told.std, told.n)
        if not (abs(told.low - low) <= _TOLERANCE and abs(told.high - high) <= _TOLERANCE):
            yield where, "does not follow from mean, deviation and count"
