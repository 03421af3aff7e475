"""Whether the figures of the rebound fit each other, the order, and the audit of the cleaned model."""

from collections.abc import Iterator, Sequence

from cleanclip.evidence.counted import same
from cleanclip.evidence.findings import Finding, misfit
from cleanclip.vocabulary.audit_figures import AuditFigures
from cleanclip.vocabulary.fresh_attacks import fresh_of
from cleanclip.vocabulary.measures import Estimate
from cleanclip.vocabulary.rebound_figures import (
    InterpolatedPoint,
    ReboundCurve,
    ReboundFigures,
    ReboundPoint,
    Relearned,
    Relearning,
)
from cleanclip.vocabulary.rebound_options import ReboundOptions
from cleanclip.vocabulary.recipe import to_json
from cleanclip.vocabulary.report import Report

_TOLERATED = 0.005
"""Of the images, between the audit of the cleaned model and step 0: on a GPU sums may be made in another
order. Of fewer than 200 images none."""


def check(report: Report) -> Iterator[Finding]:
    """Of a cleaning that ordered it; elsewhere there is none."""
    ordered, reported, after, recipe = report.audit.rebound, report.rebound, report.after, report.recipe
    if (reported is None) != (ordered is None):
        yield misfit("rebound", "is there exactly where it was ordered")
    if reported is None or ordered is None:
        return
    if after is None or recipe is None:
        yield misfit("rebound", "belongs to a cleaning")
        return
    trained = [one.num_samples for one in report.data if one.kind in ("pairs", "training")]
    yield from same("rebound.num_samples", [reported.num_samples], trained)
    settings = [(rate, report.seed + number) for rate in ordered.rates for number in range(ordered.num_seeds)]
    yield from same("rebound.curves", [(one.rate, one.seed) for one in reported.curves], settings)
    for index, curve in enumerate(reported.curves):
        where = f"rebound.curves[{index}]"
        yield from _curve(where, curve, ordered, after, report)
    yield from same("rebound.attacks", reported.attacks, tuple(attack.name for attack in after.attacks))
    if any(len(point.attacks) != len(after.attacks) for one in reported.curves for point in one.points):
        return
    yield from _interpolation(reported, ordered, report.before, after)
    yield from _relearned(reported.relearned, ordered, report)


def _steps(
    where: str, points: Sequence[int], ordered: ReboundOptions, diverged_at: int | None
) -> Iterator[Finding]:
    """All that were ordered, or those before the loss diverged; the first is there always."""
    expected = [0, *ordered.steps]
    if diverged_at is not None:
        expected = [step for step in expected if step < diverged_at] or [0]
        if not 0 < diverged_at <= ordered.steps[-1]:
            yield misfit(f"{where}.diverged_at", f"is {diverged_at}, not one of {ordered.steps[-1]} updates")
    yield from same(f"{where}.points", list(points), expected)


def _curve(
    where: str, curve: ReboundCurve, ordered: ReboundOptions, after: AuditFigures, report: Report
) -> Iterator[Finding]:
    yield from _steps(where, [one.step for one in curve.points], ordered, curve.diverged_at)
    for number, point in enumerate(curve.points):
        yield from _point(f"{where}.points[{number}]", point, ordered, after)
    if any(len(point.attacks) != len(after.attacks) for point in curve.points):
        return
    yield from _is_sample(f"{where}.points[0].ca", curve.points[0].ca, after.ca)
    for number, attack in enumerate(after.attacks):
        shares = [point.attacks[number].asr for point in curve.points]
        yield from _is_sample(f"{where}.points[0].attacks[{number}].asr", shares[0], attack.asr)
        for place, (share, point) in enumerate(zip(shares, curve.points, strict=True)):
            inside = f"{where}.points[{place}].attacks[{number}]"
            yield from same(f"{inside}.asr.n", share.n, curve.points[0].attacks[number].asr.n)
            yield from same(
                f"{inside}.untriggered_target_rate.n",
                point.attacks[number].untriggered_target_rate.n,
                share.n,
            )


def _point(
    where: str, point: ReboundPoint | InterpolatedPoint, ordered: ReboundOptions, after: AuditFigures
) -> Iterator[Finding]:
    yield from same(f"{where}.ca.n", point.ca.n, min(ordered.max_images, after.ca.n))
    if len(point.attacks) != len(after.attacks):
        yield misfit(f"{where}.attacks", "are not those that were measured")
        return
    floors: dict[str | None, Estimate] = {}
    for number, (one, attack) in enumerate(zip(point.attacks, after.attacks, strict=True)):
        inside = f"{where}.attacks[{number}]"
        if one.asr.n > point.ca.n:
            yield misfit(f"{inside}.asr.n", "is more than all images")
        floor = one.untriggered_target_rate
        if floor.successes + point.ca.successes > point.ca.n:
            yield misfit(f"{inside}.untriggered_target_rate.successes", "does not fit the clean accuracy")
        if floors.setdefault(attack.target, floor) != floor:
            yield misfit(f"{inside}.untriggered_target_rate", "is another than that of the same target")


def _interpolation(
    reported: ReboundFigures, ordered: ReboundOptions, before: AuditFigures, after: AuditFigures
) -> Iterator[Finding]:
    """Both ends are the audited models; every share and gap is one that halving makes."""
    found, where = reported.interpolation, "rebound.interpolation"
    if (found is not None) != (ordered.interpolation_halvings > 0):
        yield misfit(where, "is there exactly where it was ordered")
    if found is None:
        return
    for place, point in enumerate(found.points):
        yield from _point(f"{where}.points[{place}]", point, ordered, after)
        counted, first = ([one.asr.n for one in at.attacks] for at in (point, found.points[0]))
        yield from same(f"{where}.points[{place}].attacks", counted, first)
    shares, finest = [point.share for point in found.points], 2**ordered.interpolation_halvings
    if any(len(point.attacks) != len(after.attacks) for point in found.points):
        return
    is_halved = all((share * finest).is_integer() for share in shares)
    if shares != sorted(set(shares)) or shares[:1] != [0] or shares[-1:] != [1] or not is_halved:
        yield misfit(f"{where}.points", "are not at shares from 0 to 1 that the ordered halvings make")
        return
    for end, audited in ((0, after), (-1, before)):
        yield from _is_sample(f"{where}.points[{end}].ca", found.points[end].ca, audited.ca)
        for number, attack in enumerate(audited.attacks):
            share = found.points[end].attacks[number].asr
            yield from _is_sample(f"{where}.points[{end}].attacks[{number}].asr", share, attack.asr)
    for place in (shares.index(share) for share in found.to_half if share):
        if shares[place] - shares[place - 1] > 1 / finest:
            yield misfit(f"{where}.points", f"leave a gap under {shares[place]:g} that was to be halved")


def _is_sample(where: str, share: Estimate, of: Estimate) -> Iterator[Finding]:
    """The model is the one that was audited, and its images are some or all of those of that audit."""
    spare = int(_TOLERATED * of.n)
    failures, all_failures = share.n - share.successes, of.n - of.successes
    if share.n > of.n or share.successes > of.successes + spare or failures > all_failures + spare:
        yield misfit(where, "cannot be of images of that model's audit, whose counts are others")


def _relearned(reported: Sequence[Relearned], ordered: ReboundOptions, report: Report) -> Iterator[Finding]:
    """Of the attacks that worked before the cleaning, where relearning was ordered."""
    worked = [one for one in report.before.attacks if one.asr.value >= report.audit.gate]
    expected = [one.name for one in worked] if ordered.poisons else []
    if [one.attack for one in reported] != expected:
        yield misfit("rebound.relearned", "is not of the attacks that worked before")
        return
    for index, (one, attack) in enumerate(zip(reported, worked, strict=False)):
        where = f"rebound.relearned[{index}]"
        yield from same(
            f"{where}.old", (one.old.trigger_sha256, one.old.options), (attack.trigger_sha256, attack.options)
        )
        like = fresh_of(report.audit.attacks[report.before.attacks.index(attack)])
        expected_options = None if like is None else to_json(like)
        yield from same(f"{where}.fresh.options", one.fresh and one.fresh.options, expected_options)
        if one.fresh is not None and one.fresh.trigger_sha256 == one.old.trigger_sha256:
            yield misfit(f"{where}.fresh", "is the old trigger")
        for name, side in (("old", one.old), ("fresh", one.fresh)):
            if side is not None:
                yield from _relearning(f"{where}.{name}", side, ordered, report)


def _relearning(
    where: str, reported: Relearning, ordered: ReboundOptions, report: Report
) -> Iterator[Finding]:
    yield from _steps(where, [one.step for one in reported.points], ordered, reported.diverged_at)
    for index, point in enumerate(reported.points):
        yield from same(f"{where}.points[{index}].asr.n", point.asr.n, reported.points[0].asr.n)
        if point.asr.n > min(ordered.max_images, report.before.ca.n):
            yield misfit(f"{where}.points[{index}].asr.n", "is more than all images")
