"""Whether the figures of the rebound fit each other, the order, and the audit of the cleaned model.

Areas, updates to 50 % and the bounds of the highest ASR are worked out again here, apart from the library.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cleanclip.evidence.counted import close, same
from cleanclip.evidence.findings import Finding, misfit
from cleanclip.spec.audit_figures import AuditFigures
from cleanclip.spec.fresh_attacks import fresh_of
from cleanclip.spec.intervals import low_of_highest
from cleanclip.spec.measures import Estimate
from cleanclip.spec.rebound_figures import (
    HighestASR,
    InterpolatedPoint,
    ReboundCurve,
    ReboundFigures,
    ReboundPoint,
    Relearned,
    Relearning,
)
from cleanclip.spec.rebound_options import ReboundOptions
from cleanclip.spec.recipe import to_json
from cleanclip.spec.report import Report

_TOLERATED = 0.005
"""Of the images, between the audit of the cleaned model and step 0: on a GPU sums may be made in another
order. Of fewer than 200 images none."""


def check(report: Report) -> Iterator[Finding]:
    """Of a cleaning that ordered it; elsewhere there is none."""
    ordered, told, after, recipe = report.audit.rebound, report.rebound, report.after, report.recipe
    if (told is None) != (ordered is None):
        yield misfit("rebound", "is there exactly where it was ordered")
    if told is None or ordered is None:
        return
    if after is None or recipe is None:
        yield misfit("rebound", "belongs to a cleaning")
        return
    trained = [one.num_samples for one in report.data if one.kind in ("pairs", "training")]
    yield from same("rebound.num_samples", [told.num_samples], trained)
    settings = [(rate, report.seed + number) for rate in ordered.rates for number in range(ordered.num_seeds)]
    yield from same("rebound.curves", [(one.rate, one.seed) for one in told.curves], settings)
    for index, curve in enumerate(told.curves):
        where = f"rebound.curves[{index}]"
        if not close(curve.learning_rate, curve.rate * recipe.learning_rate):
            yield misfit(f"{where}.learning_rate", f"is not {curve.rate:g} times that of the recipe")
        yield from _curve(where, curve, ordered, after, report)
    if any(len(point.attacks) != len(after.attacks) for one in told.curves for point in one.points):
        return
    yield from _highest(told, after)
    yield from _interpolation(told, ordered, report.before, after)
    yield from _relearned(told.relearned, ordered, report)


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
    if any(len(point.attacks) != len(after.attacks) for point in curve.points) or not curve.points:
        return
    yield from _is_sample(f"{where}.points[0].ca", curve.points[0].ca, after.ca)
    if len(curve.areas) != len(after.attacks):
        yield misfit(f"{where}.areas", "are not of the attacks that were measured")
        return
    for number, (attack, area) in enumerate(zip(after.attacks, curve.areas, strict=True)):
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
        expected = _area([one.step for one in curve.points], [one.value for one in shares])
        if not close(area, expected):
            yield misfit(f"{where}.areas[{number}]", f"is {area:.6g}, but its points make {expected:.6g}")


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
    told: ReboundFigures, ordered: ReboundOptions, before: AuditFigures, after: AuditFigures
) -> Iterator[Finding]:
    """Both ends are the audited models; every share and gap is one that halving makes."""
    found, where = told.interpolation, "rebound.interpolation"
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
    reached = [
        next((place for place, one in enumerate(found.points) if one.attacks[number].asr.value >= 0.5), None)
        for number in range(len(after.attacks))
    ]
    yield from same(
        f"{where}.to_half", list(found.to_half), [None if one is None else shares[one] for one in reached]
    )
    for place in filter(None, reached):
        if shares[place] - shares[place - 1] > 1 / finest:
            yield misfit(f"{where}.points", f"leave a gap under {shares[place]:g} that was to be halved")


def _is_sample(where: str, share: Estimate, of: Estimate) -> Iterator[Finding]:
    """The model is the one that was audited, and its images are some or all of those of that audit."""
    spare = int(_TOLERATED * of.n)
    failures, all_failures = share.n - share.successes, of.n - of.successes
    if share.n > of.n or share.successes > of.successes + spare or failures > all_failures + spare:
        yield misfit(where, "cannot be of images of that model's audit, whose counts are others")


def _area(steps: Sequence[int], shares: Sequence[float]) -> float:
    """The mean height of the straight lines between the points."""
    parts = [
        (steps[place + 1] - steps[place]) * (shares[place + 1] + shares[place]) / 2
        for place in range(len(steps) - 1)
    ]
    return sum(parts) / (steps[-1] - steps[0]) if parts else 0.0


def _highest(told: ReboundFigures, after: AuditFigures) -> Iterator[Finding]:
    names = [attack.name for attack in after.attacks]
    if [one.attack for one in told.highest] != names:
        yield misfit("rebound.highest", "are not of the attacks that were measured")
        return
    for number, one in enumerate(told.highest):
        where = f"rebound.highest[{number}]"
        counted = [
            (curve, its_own.rate, point.step, point.attacks[number].asr)
            for curve, its_own in enumerate(told.curves)
            for point in its_own.points
        ]
        yield from _highest_of(where, one, counted)


def _highest_of(
    where: str, one: HighestASR, counted: Sequence[tuple[int, float, int, Estimate]]
) -> Iterator[Finding]:
    most = max((asr.successes for *_, asr in counted), default=0)
    first = next((point for point in counted if point[-1].successes == most), None)
    if (one.curve, one.rate, one.step, one.asr) != first:
        yield misfit(where, "is not the highest point of the curves")
        return
    yield from same(f"{where}.num_points", one.num_points, len(counted))
    expected = low_of_highest(one.asr.successes, one.asr.n, len(counted))
    if not close(one.low, expected):
        yield misfit(f"{where}.low", f"is {one.low:.6g}, but its counts give {expected:.6g}")


def _relearned(told: Sequence[Relearned], ordered: ReboundOptions, report: Report) -> Iterator[Finding]:
    """Of the attacks that worked before the cleaning, where relearning was ordered."""
    worked = [one for one in report.before.attacks if one.asr.value >= report.audit.gate]
    expected = [one.name for one in worked] if ordered.poisons else []
    if [one.attack for one in told] != expected:
        yield misfit("rebound.relearned", "is not of the attacks that worked before")
        return
    for index, (one, attack) in enumerate(zip(told, worked, strict=False)):
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
        yield from _ratio(where, one)


def _relearning(where: str, told: Relearning, ordered: ReboundOptions, report: Report) -> Iterator[Finding]:
    yield from _steps(where, [one.step for one in told.points], ordered, told.diverged_at)
    for index, point in enumerate(told.points):
        yield from same(f"{where}.points[{index}].asr.n", point.asr.n, told.points[0].asr.n)
        if point.asr.n > min(ordered.max_images, report.before.ca.n):
            yield misfit(f"{where}.points[{index}].asr.n", "is more than all images")
    expected = _to_half([(one.step, one.asr.value) for one in told.points])
    if (told.updates_to_half is None) != (expected is None) or (
        told.updates_to_half is not None
        and expected is not None
        and not close(told.updates_to_half, expected)
    ):
        yield misfit(f"{where}.updates_to_half", "does not follow from its points")


def _to_half(points: Sequence[tuple[int, float]]) -> float | None:
    """Where the lines between the points first reach 50 %."""
    for place, (step, share) in enumerate(points):
        if share < 0.5:
            continue
        if place == 0:
            return float(step)
        earlier, lower = points[place - 1]
        return earlier + (step - earlier) * (0.5 - lower) / (share - lower)
    return None


def _ratio(where: str, one: Relearned) -> Iterator[Finding]:
    old, fresh = one.old.updates_to_half, one.fresh.updates_to_half if one.fresh else None
    expected = None if old is None or not fresh else old / fresh
    if (one.ratio is None) != (expected is None) or (
        one.ratio is not None and expected is not None and not close(one.ratio, expected)
    ):
        yield misfit(f"{where}.ratio", "is not that of the updates to 50 %")
