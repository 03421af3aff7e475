"""Whether the figures of a search for patterns fit themselves, and the order."""

from collections.abc import Iterator, Sequence

from cleanclip.evidence.counted import same
from cleanclip.evidence.findings import Finding, misfit
from cleanclip.vocabulary import scan_cost
from cleanclip.vocabulary.audit_figures import AuditFigures
from cleanclip.vocabulary.clip_text import num_different
from cleanclip.vocabulary.control import MEASURED, SEARCHES, ControlFigures, NotSearched, Strongest
from cleanclip.vocabulary.report import Report
from cleanclip.vocabulary.scan_options import MIN_CLASSES, MIN_SEARCHED, ScanOptions
from cleanclip.vocabulary.scan_report import ScanReport


def check(where: str, families: Sequence[Strongest]) -> Iterator[Finding]:
    """With a pattern and without it the same images are counted."""
    for place, one in enumerate(families):
        yield from same(f"{where}[{place}].without.n", one.without.n, one.led.n)


def check_scan(report: ScanReport) -> Iterator[Finding]:
    """Against the statistics, which count the same images."""
    measured = report.statistics.collapse if report.num_classes else ()
    yield from check("control", report.control)
    yield from same("control", [one.family for one in report.control], [one.family for one in measured])
    for place, (reported, figures) in enumerate(zip(report.control, measured, strict=False)):
        if all(one.towards is None for one in figures.restarts):
            yield misfit(f"control[{place}]", "is of no pattern that was measured")
            continue
        counts = (reported.led.n, reported.led.successes)
        yield from same(f"control[{place}].led", counts, (figures.n, figures.most_sent[1]))


def check_cleaned(report: Report) -> Iterator[Finding]:
    """Of a cleaning: all families on images that there are, or a reason that fits them why not."""
    reported = report.control
    measured = report.after if report.withheld is None else report.withheld.measured.after
    if (reported is None) != (measured is None):
        yield misfit("control", "belongs to a cleaning, and each cleaning has one")
    if reported is None or measured is None:
        return
    if isinstance(reported, NotSearched):
        if why := _refuted(reported, measured):
            yield misfit("control.not_searched", f"says “{reported.not_searched}”, but {why}")
        return
    yield from check("control.families", reported.families)
    yield from _of_classes(reported, measured)
    yield from same("control.families", [one.family for one in reported.families], [*MEASURED])
    yield from same("control.searches", reported.searches, SEARCHES)
    yield from same("control.num_held_out", {one.led.n for one in reported.families}, {reported.num_held_out})
    drawn = scan_cost.drawn(ScanOptions(), measured.ca.n)
    yield from same("control.num_inverted_on", (reported.num_inverted_on, reported.num_held_out), drawn)


def _of_classes(reported: ControlFigures, measured: AuditFigures) -> Iterator[Finding]:
    """Some class is given at least its share of the images, and it is one that there is."""
    names = {one.class_name for one in measured.ca_per_class}
    for place, one in enumerate(reported.families if names else ()):
        if one.class_name not in names:
            yield misfit(f"control.families[{place}].class_name", "is no class that was measured")
        if one.led.successes * len(names) < one.led.n:
            yield misfit(f"control.families[{place}].led", "is less than some class is given in any case")


def _refuted(reported: NotSearched, measured: AuditFigures) -> str:
    """What the figures of the cleaned model say against the reason; empty: nothing. Whether enough images
    differ, no figure tells."""
    classes = [one for one in measured.ca_per_class if one.accuracy.n]
    floor = measured.commonest_class
    match reported.not_searched:
        case "scan_too_few_images" if measured.ca.n >= MIN_SEARCHED:
            return f"{measured.ca.n} images were measured"
        case "scan_one_class" if len(classes) > 1:
            return f"images of {len(classes)} classes were measured"
        case "scan_too_few_classes":
            num = num_different([one.class_name for one in measured.ca_per_class])
            return f"there are {num}" if num >= MIN_CLASSES else ""
        case "scan_classes_alike" | "embeddings_constant" | "embeddings_not_finite":
            is_above = floor is not None and measured.ca.value > floor
            return "it tells the classes apart" if is_above else ""
    return ""
