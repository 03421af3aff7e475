"""What report.md has of its own of an audit or a cleaning: tables and sentences, in Markdown."""

from collections.abc import Iterable, Sequence

from cleanclip.face import figures, rebound, retrieval, sentences
from cleanclip.face.markdown import code, control_table, text
from cleanclip.face.table_rows import Row, points, section_words
from cleanclip.vocabulary import control
from cleanclip.vocabulary.measures import RankDistribution
from cleanclip.vocabulary.report import Report
from cleanclip.vocabulary.sections import sections_of
from cleanclip.vocabulary.settled import COMPARED
from cleanclip.vocabulary.verdict_texts import share


def parts(report: Report) -> list[str]:
    """In its order: figures, control, rebound, losses, and what the tensors do not say."""
    front, num_left_out = figures.front(report)
    found = [_table(report, front)]
    if num_left_out:
        noun = "trigger" if num_left_out == 1 else "triggers"
        found.append(f"{num_left_out} more {noun}: see report.html.")
    if withheld := figures.on_withheld(report):
        found.append(f"{sentences.withheld(report)}\n\n{_table(report, withheld)}")
    ranks = figures.front_ranks(report)
    if ranks:
        reported_as = "The place of the target, 1 the first: median (its 95 % interval; quartiles)."
        found.append(f"{reported_as}\n\n{_table(report, ranks)}")
    probed = figures.front_probe(report)
    if probed:
        found.append(f"The linear probe, on the image tower alone:\n\n{_table(report, probed)}")
    if captioned := retrieval.front(report):
        found.append("Retrieval with captions (more in report.html):\n\n" + _table(report, captioned))
    if isinstance(report.control, control.ControlFigures):
        found.append(text(report.control.sentence))
        found += control_table(report.control.families)
    found += _rebound(report)
    if report.ca_lost is not None:
        found.append(f"Clean accuracy lost: {points(report.ca_lost)}.")
    found += [text(section_words(one)) for _, one in sections_of(report)]
    if report.classes_lost:
        worst = report.classes_lost[0]
        found.append(
            f"The class that lost the most: {code(worst.class_name)}, {points(worst.lost)}. "
            "Among many classes, the worst looks bad by chance too."
        )
    if report.examples is not None and report.examples.examples:
        found.append("Examples of triggered images, chosen at random: see report.html.")
    known = [(one, reported_as) for one, reported_as in sentences.settled(report) if one in COMPARED]
    if known:
        lines = "\n".join(f"- {code(one)}: {text(reported_as)}" for one, reported_as in known)
        found.append("**What the tensors do not say**\n\n" + lines)
    found.append(f"Audits in {report.audit.precision} on {text(report.environment.device)}.")
    return found


def _rebound(report: Report) -> list[str]:
    """The highest ASR of each attack after benign fine-tuning with what was measured beside it, and its
    verdict; the lowest clean accuracy; relearning and the way back, where they were ordered."""
    if report.rebound is None:
        return []
    rows = []
    for number, one in enumerate(rebound.highest(report)):
        point = report.rebound.point_of(one.reported)
        floor = ca = "not in the report"
        if point is not None:
            floor, ca = share(point.attacks[number].untriggered_target_rate), share(point.ca)
        where = f"{one.reported.step}, at {one.reported.rate:g} times the rate"
        rows.append((text(one.title), share(one.share.estimate), floor, ca, where, one.outcome))
    said = "Rebound, the cleaned model trained further on clean data (the curves are in report.html):"
    headings = ("highest ASR", "without trigger there", "CA there", "after updates", "verdict")
    parts = [f"{said}\n\n{_lines(headings, rows)}"]
    if (found := report.rebound.lowest_ca()) is not None:
        curve, point = found
        parts.append(
            f"The lowest CA of all measurements is {share(point.ca)}, after {point.step} updates at "
            f"{curve.rate:g} times the rate; before any update it is {share(curve.points[0].ca)}."
        )
    return [*parts, *_relearned(report), *_way_back(report)]


def _relearned(report: Report) -> list[str]:
    """Updates to 50 % of an old trigger and of a fresh one."""
    rows, ordered = rebound.relearned(report), report.audit.rebound
    if not rows or ordered is None:
        return []
    cells = [(text(one.title), one.old, one.fresh, one.ratio) for one in rows]
    said = (
        f"Relearning: updates until ASR is 50 %, with {ordered.poisons} poisoned samples among "
        f"{ordered.relearning_samples}. A ratio under 1 means that the model learns the old one faster."
    )
    return [f"{said}\n\n{_lines(('old', 'fresh, of the same kind', 'old through fresh'), cells)}"]


def _way_back(report: Report) -> list[str]:
    """The least share of the way back to the input model with an ASR of 50 %."""
    rows = rebound.way_back(report)
    if not rows:
        return []
    cells = [
        (text(one.title), one.least, *(share(reported.estimate) for reported in one.shares)) for one in rows
    ]
    said = (
        "Back towards the input model's weights: the least share of the way, of those measured, with an ASR "
        "of 50 %. It judges nothing; where 50 % is not reached, the figures are of the input model."
    )
    return [f"{said}\n\n{_lines(('share of the way', 'ASR there', 'CA there'), cells)}"]


def _table(report: Report, rows: list[Row]) -> str:
    cells = [
        (
            text(row.title),
            *(share(one.estimate) for one in row.shares),
            *(_rank(rank.distribution) for rank in row.ranks),
        )
        for row in rows
    ]
    return _lines(("before", "after") if report.after else ("before",), cells)


def _lines(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, whose first column has no heading."""
    ruler = f"|{'---|' * (1 + len(headings))}"
    return "\n".join([f"| | {' | '.join(headings)} |", ruler, *(f"| {' | '.join(row)} |" for row in rows)])


def _rank(one: RankDistribution) -> str:
    return (
        f"{one.median} ({one.low} to {one.high}; {one.first_quartile} and {one.third_quartile}; n = {one.n})"
    )
