"""Whether the figures of a linear probe fit: counts of the same images, and none where none was ordered."""

from __future__ import annotations

from collections.abc import Iterator

from cleanclip.evidence.findings import Finding, misfit
from cleanclip.evidence.report import AuditFigures, Estimate, Report

Held = tuple[str, Estimate, int]
"""Where a share is, the share, and of how many images it must be."""


def shares(where: str, figures: AuditFigures, num_others: list[int]) -> Iterator[Held]:
    """Every share of the probe; `num_others` are the images of other classes than each attack's target."""
    num_images = figures.ca.n
    if figures.linear_probe is not None:
        yield f"{where}.linear_probe.accuracy", figures.linear_probe.accuracy, num_images
    for index, (attack, others) in enumerate(zip(figures.attacks, num_others, strict=True)):
        told, inside = attack.linear_probe, f"{where}.attacks[{index}].linear_probe"
        if told is not None:
            yield f"{inside}.asr", told.asr, others
            yield f"{inside}.untriggered_target_rate", told.untriggered_target_rate, others
            yield f"{inside}.pa", told.pa, num_images


def check(where: str, figures: AuditFigures, report: Report) -> Iterator[Finding]:
    """Beside the shares themselves."""
    ordered, told = report.audit.linear_probe, figures.linear_probe
    if (told is None) != (ordered is None):
        yield misfit(f"{where}.linear_probe", "is there exactly where one was ordered")
    elif told and ordered and told.num_iterations > ordered.max_iterations:
        yield misfit(f"{where}.linear_probe.num_iterations", f"is over {ordered.max_iterations}")
    floors: dict[str | None, int] = {}
    for index, attack in enumerate(figures.attacks):
        inside, probed = f"{where}.attacks[{index}].linear_probe", attack.linear_probe
        if (probed is None) != (told is None):
            yield misfit(inside, "is there exactly where that without a trigger is")
        if probed is None or told is None:
            continue
        if probed.pa.successes + probed.asr.successes > figures.ca.n:
            yield misfit(f"{inside}.pa.successes", "does not fit the attack's successes")
        floor = probed.untriggered_target_rate.successes
        if told.accuracy.successes + floor > figures.ca.n:
            yield misfit(f"{inside}.untriggered_target_rate.successes", "does not fit the accuracy")
        if floors.setdefault(attack.target, floor) != floor:
            yield misfit(f"{inside}.untriggered_target_rate", "is another than before, of the same target")
