"""Reads report.json for rendering, and refuses what cannot be shown honestly.

A page makes figures look certain. So nothing is drawn whose figures do not follow from their counts, or whose
verdict does not follow from its figures: by the checks of `cleanclip verify`, `cleanclip.evidence.kinds`.
"""

import os
import stat
from pathlib import Path

from cleanclip.evidence import kinds
from cleanclip.evidence.reading import Inconsistent, Malformed
from cleanclip.vocabulary.errors import ReportRejected
from cleanclip.vocabulary.report_kinds import AnyReport

MAX_BYTES = 8 * 2**20


def read_report(path: Path) -> AnyReport:
    """The report in the file, checked. Raises ReportRejected."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            is_file = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            data = file.read(MAX_BYTES + 1) if is_file else b""
    except OSError as error:
        raise _rejected("report_unreadable", f"{path} cannot be read: {error.strerror}.") from error
    if not is_file:
        raise _rejected("report_unreadable", f"{path} is not a plain file.")
    if len(data) > MAX_BYTES:
        raise _rejected("report_too_large", f"{path} is larger than {MAX_BYTES // 2**20} MiB.")
    return parse_report(data)


def parse_report(data: bytes) -> AnyReport:
    """The report in these bytes, checked. Raises ReportRejected."""
    try:
        report = kinds.parse(data)
    except Inconsistent as error:
        raise _rejected("report_inconsistent", f"The report {error}.", where=error.where) from error
    except Malformed as error:
        raise _rejected("report_malformed", f"The report {error}.") from error
    check(report)
    return report


def check(report: AnyReport) -> None:
    """Raises ReportRejected where a figure, the curve or the verdict does not fit."""
    for found in kinds.check(report):
        raise _rejected(
            "report_inconsistent",
            f"The report contradicts itself: {found.where} {found.message}.",
            where=found.where,
        )


def _rejected(code: str, message: str, where: str | None = None) -> ReportRejected:
    remedy = "Give an unmodified report.json; cleanclip verify checks its folder."
    return ReportRejected(code, message, remedy, where=where)
