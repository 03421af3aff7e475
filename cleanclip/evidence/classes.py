"""Whether clean accuracy by class fits: each class by itself, all together CA, and what the classes lost.

Names need not differ: a data set may give two classes the same. Told of no class: a report from before.
"""

from __future__ import annotations

from collections.abc import Iterator

from cleanclip.evidence.counted import estimate
from cleanclip.evidence.findings import Finding, misfit
from cleanclip.evidence.report import AuditFigures, Report, TargetFigures


def check(where: str, figures: AuditFigures, floors: list[TargetFigures]) -> Iterator[Finding]:
    """Of one audit. `floors`: of each target, over the images of all other classes."""
    told, place = figures.ca_per_class, f"{where}.ca_per_class"
    if not told:
        return
    for index, one in enumerate(told):
        yield from estimate(f"{place}[{index}].accuracy", one.accuracy, one.accuracy.n)
        if one.accuracy.n == 0:
            yield misfit(f"{place}[{index}].accuracy.n", "is 0: a class without images is not told")
    for name in ("n", "successes"):
        total, expected = sum(getattr(one.accuracy, name) for one in told), getattr(figures.ca, name)
        if total != expected:
            yield misfit(place, f"make {name} {total} together, and ca has {expected}")
    for floor in (one for one in floors if one.target is not None):
        num_images = sum(one.accuracy.n for one in told if one.class_name == floor.target)
        if num_images != figures.ca.n - floor.untriggered_target_rate.n:
            yield misfit(place, f"tells of {num_images} images of a target that has another number")


def check_changes(report: Report, *, most: int) -> Iterator[Finding]:
    """The same classes before and after, and in `classes_lost` the `most` that lost the most."""
    before, after = report.before.ca_per_class, report.after.ca_per_class if report.after else []
    if report.after is None or not (before or after):
        return
    counted = [[(one.class_name, one.accuracy.n) for one in side] for side in (before, after)]
    if counted[0] != counted[1]:
        yield misfit("after.ca_per_class", "is not of the same classes and images as before")
        return
    changes = [
        (one.class_name, one.accuracy.n, one.accuracy.successes, now.accuracy.successes)
        for one, now in zip(before, after, strict=True)
        if now.accuracy.successes < one.accuracy.successes
    ]
    changes.sort(key=lambda change: -(change[2] - change[3]) / change[1])  # stable, as the library's
    told = [
        (one.class_name, one.lost.n, one.before.successes, one.after.successes) for one in report.classes_lost
    ]
    if told != changes[:most]:
        yield misfit("classes_lost", "are not those that lost the most by ca_per_class")
