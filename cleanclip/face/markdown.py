"""report.md: the short form, to be pasted where Markdown is read (a pull request).

Untrusted words can be neither markup, link, mention nor reference in it: what Markdown would read is
escaped, digests stand in code spans, and what GitHub links on its own is broken by an empty comment.
"""

import re
from collections.abc import Iterable, Sequence

from cleanclip.face import figures, rebound, retrieval, sentences
from cleanclip.face.table_rows import Row, points, section_words
from cleanclip.vocabulary import control, untested
from cleanclip.vocabulary.measures import RankDistribution
from cleanclip.vocabulary.report import Report
from cleanclip.vocabulary.report_inputs import FetchedSource
from cleanclip.vocabulary.sections import sections_of
from cleanclip.vocabulary.settled import COMPARED
from cleanclip.vocabulary.untrusted import MAX_NAME_CHARACTERS, shown
from cleanclip.vocabulary.verdict_texts import share

_BREAK = "<!-- -->"
_MAX_WARNINGS = 20


def render_markdown(report: Report) -> str:
    """The page. `report` has been checked: see `checked_report`."""
    reported = sentences.headline(report)
    front, num_left_out = figures.front(report)
    parts = [
        f"## Backdoor report: {reported.label}",
        *_origin(report),
        text(sentences.question(report)),
        f"**{text(reported.label)}.** {text(reported.sentence)}",
        _table(report, front),
    ]
    if num_left_out:
        noun = "trigger" if num_left_out == 1 else "triggers"
        parts.append(f"{num_left_out} more {noun}: see report.html.")
    if withheld := figures.on_withheld(report):
        parts.append(f"{sentences.withheld(report)}\n\n{_table(report, withheld)}")
    ranks = figures.front_ranks(report)
    if ranks:
        reported_as = "The place of the target, 1 the first: median (its 95 % interval; quartiles)."
        parts.append(f"{reported_as}\n\n{_table(report, ranks)}")
    probed = figures.front_probe(report)
    if probed:
        parts.append(f"The linear probe, on the image tower alone:\n\n{_table(report, probed)}")
    found = retrieval.front(report)
    if found:
        parts.append("Retrieval with captions (more in report.html):\n\n" + _table(report, found))
    if isinstance(report.control, control.ControlFigures):
        parts.append(text(report.control.sentence))
        parts += control_table(report.control.families)
    parts += _rebound(report)
    parts += map(text, report.remarks)
    if report.ca_lost is not None:
        parts.append(f"Clean accuracy lost: {points(report.ca_lost)}.")
    parts += [text(section_words(one)) for _, one in sections_of(report)]
    if report.classes_lost:
        worst = report.classes_lost[0]
        parts.append(
            f"The class that lost the most: {code(worst.class_name)}, {points(worst.lost)}. "
            "Among many classes, the worst looks bad by chance too."
        )
    if report.examples is not None and report.examples.examples:
        parts.append("Examples of triggered images, chosen at random: see report.html.")
    parts.append("**Not tested**\n\n" + "\n".join(f"- {text(one)}" for one in untested.not_tested(report)))
    if report.warnings:
        parts.append(warnings(report.warnings))
    known = [(one, reported_as) for one, reported_as in sentences.settled(report) if one in COMPARED]
    if known:
        lines = "\n".join(f"- {code(one)}: {text(reported_as)}" for one, reported_as in known)
        parts.append("**What the tensors do not say**\n\n" + lines)
    parts.append("**Digests** (SHA-256)\n\n" + _digests(report))
    parts.append(
        f"Seed {report.seed}, {sentences.time(report.created_at)}; audits in "
        f"{report.audit.precision} on {text(report.environment.device)}. "
        f"{sentences.signing(report)}"
    )
    return "\n\n".join(parts) + "\n"


def warnings(found: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    listed = sentences.listed(found, _MAX_WARNINGS)
    return "**Warnings**\n\n" + "\n".join(f"- {text(one)}" for one in listed)


def control_table(families: Sequence[control.Strongest]) -> list[str]:
    """In Markdown; empty where nothing was searched."""
    table = control.table(families)
    if table is None:
        return []
    lines = [table.columns, ("---",) * len(table.columns)]
    lines += [(*cells, code(class_name)) for *cells, class_name in table.rows]
    return [table.about, "\n".join(f"| {' | '.join(cells)} |" for cells in lines)]


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


def _origin(report: Report) -> list[str]:
    origin = report.origin
    if origin is None:
        return []
    job = f"{code(origin.job_name)}, {code(origin.job_id)}" if origin.job_name else code(origin.job_id)
    return [
        f"Model file {code(origin.filename)}, job {job}, project {code(origin.project)}, requested by "
        f"{code(origin.requested_by)}.{_fetched(origin.source)}"
    ]


def _fetched(source: FetchedSource | None) -> str:
    if source is None:
        return ""
    commit = f", commit {code(source.commit)}, file {code(source.path or '')}" if source.commit else ""
    return f" Fetched from {code(source.ordered)}{commit}, at {code(source.fetched_at)}."


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


def _digests(report: Report) -> str:
    came_in = report.checkpoint.upload_sha256
    lines = [
        *([f"- uploaded file: {code(came_in)}"] if came_in else []),
        f"- weights before: {code(report.before.weights_sha256)}",
        *([f"- weights after: {code(report.after.weights_sha256)}"] if report.after else []),
        *(f"- {untested.KINDS[one.kind]}: {code(one.sha256)}" for one in report.data),
    ]
    return "\n".join(lines)


def code(words: str) -> str:
    """An untrusted name in a code span that nothing in it can close."""
    visible = shown(words, MAX_NAME_CHARACTERS)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", visible)), default=0))
    pad = " " if visible.startswith(("`", " ")) or visible.endswith(("`", " ")) or not visible else ""
    return f"{fence}{pad}{visible}{pad}{fence}"


def text(words: str) -> str:
    """A sentence with all that Markdown would read escaped."""
    escaped = re.sub(r"([\\`*_\[\]<>|~&$#!{}])", r"\\\1", shown(words))
    return re.sub(r"(@|#|://|www(?=\.))", rf"\1{_BREAK}", escaped)
