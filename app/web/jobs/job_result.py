"""The report of a finished job, fetched and looked at before its page shows it, and what other jobs left.

Computes no figure: all are taken from the report as the job wrote it. Strings of a report are untrusted.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import ValidationError

from app.logs import get_logger
from app.schemas.jobs import ResultOut
from app.storage.errors import SizeMismatch, StorageError
from app.storage.port import ObjectStore
from cleanclip.face.page import Page
from cleanclip.face.reports import page_of
from cleanclip.vocabulary.figures import Line, of_attack, of_model, with_target
from cleanclip.vocabulary.report import Report
from cleanclip.vocabulary.report_kinds import AnyReport
from cleanclip.vocabulary.verdicts import headline

MAX_REPORT_BYTES = 8 * 2**20
"""Workers publish no larger one."""

T = TypeVar("T")
log = get_logger(__name__)

TitledLine = tuple[str, Line]


class ReportUnreadable(Exception):
    """Its message is for the page."""


def fetch(store: ObjectStore, key: str, parse: Callable[[bytes], T]) -> T:
    """What `parse` makes of the bytes under this key. Raises ReportUnreadable, whose sentence says why."""
    try:
        return parse(store.read_bytes(key, max_bytes=MAX_REPORT_BYTES))
    except SizeMismatch as error:
        raise ReportUnreadable("The report is too large to be shown here.") from error
    except StorageError as error:
        log.warning("report_not_fetched", reason=str(error)[:300])
        raise ReportUnreadable("The object store does not give out the report at the moment.") from error
    except ValidationError as error:
        raise ReportUnreadable("The report has a version that this page does not read.") from error


def _fits(report: Report) -> bool:
    """Whether what is shown side by side is as long as what it stands beside."""
    num_attacks = len(report.before.attacks)
    lengths = {len(report.audit.attacks), len(report.verdict.attacks)}
    if report.after is not None:
        lengths.add(len(report.after.attacks))
    names = [one.name for one in report.after.attacks] if report.after is not None else []
    if report.attack_changes and [one.attack for one in report.attack_changes] != names:
        return False
    if report.rebound is not None:
        lengths |= {len(report.rebound.highest), len(report.verdict.rebound)}
        if report.rebound.interpolation is not None:
            lengths |= {len(report.rebound.interpolation.to_half)}
        lengths |= {len(point.attacks) for curve in report.rebound.curves for point in curve.points}
    if report.examples is not None:
        lengths |= {len(one.triggered) for one in report.examples.examples}
    return lengths == {num_attacks}


def page_shown(report: AnyReport) -> Page:
    """What the page shows of a report. Raises ReportUnreadable where its parts do not fit."""
    if isinstance(report, Report) and not _fits(report):
        raise ReportUnreadable("The report contradicts itself.")
    return page_of(report)


def kept_figures(result: dict[str, Any] | None) -> ResultOut | None:
    """What a job found out that has not succeeded; None where there is nothing."""
    return ResultOut.of(result or None)


def kept_rows(kept: ResultOut | None) -> list[TitledLine]:
    """CA, ASR and PA of a job that did not get further, each with its title."""
    if kept is None or kept.before is None:
        return []
    rows = [(line.title, line) for line in of_model(kept) if line.figure.path == "ca"]
    for number in range(len(kept.before.attacks)):
        lines = [line for line in of_attack(kept, number) if line.figure.path in {"asr", "pa"}]
        rows += [(line.title_of(with_target(kept, number)), line) for line in lines]
    return rows


def first_headline(kept: ResultOut | None) -> str | None:
    """Of a preliminary verdict; None where there is none."""
    if kept is None or kept.before is None or kept.before_verdict is None or not kept.preliminary:
        return None
    triggers = kept.before.num_triggers(kept.before_verdict.attacks)
    return headline(kept.before_verdict.outcome, is_cleaned=False, num_triggers=triggers)
