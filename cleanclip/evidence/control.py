"""Whether the figures of a search for patterns fit themselves, and the order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cleanclip.evidence.counted import same
from cleanclip.evidence.findings import Finding, misfit
from cleanclip.spec import scan_cost
from cleanclip.spec.control import MEASURED, SEARCHES, TOO_FEW_IMAGES, NotSearched, Strongest
from cleanclip.spec.report import Report
from cleanclip.spec.scan_options import MIN_SEARCHED, ScanOptions
from cleanclip.spec.scan_report import ScanReport


def check(where: str, families: Sequence[Strongest]) -> Iterator[Finding]:
    """With a pattern and without it the same images are counted."""
    for place, one in enumerate(families):
        yield from same(f"{where}[{place}].without.n", one.without.n, one.led.n)


def check_scan(report: ScanReport) -> Iterator[Finding]:
    """Against the statistics, which count the same images."""
    measured = report.statistics.collapse if report.num_classes else ()
    yield from check("control", report.control)
    yield from same("control", [one.family for one in report.control], [one.family for one in measured])
    for place, (told, figures) in enumerate(zip(report.control, measured, strict=False)):
        if all(one.towards is None for one in figures.restarts):
            yield misfit(f"control[{place}]", "is of no pattern that was measured")
            continue
        counts = (told.led.n, told.led.successes)
        yield from same(f"control[{place}].led", counts, (figures.n, figures.most_sent[1]))


def check_cleaned(report: Report) -> Iterator[Finding]:
    """Of a cleaning: all families on images that there are, or a reason that fits them why not."""
    told = report.control
    if (told is None) != (report.after is None):
        yield misfit("control", "belongs to a cleaning, and each cleaning has one")
    if told is None:
        return
    images = [one.num_samples - one.num_skipped for one in report.data if one.kind == "labelled"]
    if report.withheld is not None:
        images = [report.withheld.num_samples - report.withheld.num_skipped]
    if isinstance(told, NotSearched):
        if told.not_searched == TOO_FEW_IMAGES and sum(images) >= MIN_SEARCHED:
            yield misfit("control.not_searched", f"is of too few images, but {sum(images)} were measured")
        return
    yield from check("control.families", told.families)
    yield from same("control.families", [one.family for one in told.families], [*MEASURED])
    yield from same("control.searches", told.searches, SEARCHES)
    yield from same("control.num_held_out", {one.led.n for one in told.families}, {told.num_held_out})
    drawn = scan_cost.drawn(ScanOptions(), sum(images))
    yield from same("control.num_inverted_on", (told.num_inverted_on, told.num_held_out), drawn)
