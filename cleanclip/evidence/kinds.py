"""report.json of any kind of job: read as what it says that it is, and held to itself."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from pydantic import TypeAdapter, ValidationError

from cleanclip.evidence import audited_files, scans, statement, vetted_files, vettings
from cleanclip.evidence import report as audits
from cleanclip.evidence.findings import Finding
from cleanclip.evidence.folder import CheckedFolder
from cleanclip.evidence.reading import malformed
from cleanclip.evidence.statement import Observed
from cleanclip.kinds.catalogue import KINDS
from cleanclip.vocabulary.errors import SanitizerError
from cleanclip.vocabulary.recipe import to_json
from cleanclip.vocabulary.report import Report
from cleanclip.vocabulary.report_kinds import AnyReport, PlainReport, load_plain
from cleanclip.vocabulary.scan_report import ScanReport
from cleanclip.vocabulary.strict_json import load_bounded, parse_bounded
from cleanclip.vocabulary.vet_report import VetReport


@dataclass(frozen=True, kw_only=True)
class _Evidence:
    """What reads a report (raises Malformed), and what holds it to itself, to the files beside it, and to
    what the statement says was ordered."""

    parse: Callable[[bytes], AnyReport]
    check: Callable[[Any], Iterator[Finding]]
    beside: Callable[[Any, CheckedFolder, Mapping[str, Any]], Iterator[Finding]]
    order: Callable[[Any, Observed, Mapping[str, Any]], Iterator[Finding]]


_KINDS: Mapping[str, _Evidence] = {
    "scan": _Evidence(
        parse=scans.parse,
        check=scans.check,
        beside=lambda report, folder, _: scans.check_files(report, folder),
        order=lambda report, facts, _: statement.compare_scan_order(report, facts),
    ),
    "vet": _Evidence(
        parse=vettings.parse,
        check=vettings.check,
        beside=lambda report, folder, _: vetted_files.check_files(report, folder),
        order=statement.compare_options,
    ),
}
_OTHERS = _Evidence(
    parse=audits.parse,
    check=audits.check,
    beside=audited_files.check_files,
    order=statement.compare_audit_order,
)
"""Of any other kind: an audit or a cleaning."""


def parse(content: bytes) -> AnyReport:
    """Raises Malformed."""
    return _of(_kind_of(content)).parse(content)


def _kind_of(content: bytes) -> str:
    """That it says it is of; empty where it says none."""
    try:
        document = parse_bounded(content)
    except ValueError:
        return ""
    kind = document.get("kind") if isinstance(document, dict) else None
    return kind if isinstance(kind, str) else ""


def counted(content: bytes) -> AnyReport | None:
    """The report that the fields make, whatever is said beside them; None where they make none."""
    try:
        report = load_bounded(_adapter(_kind_of(content)), content)
        to_json(report)  # works out all that follows
    except (ArithmeticError, LookupError, SanitizerError, ValueError):
        return None
    return report


@cache
def _adapter(kind: str) -> TypeAdapter[AnyReport]:
    return TypeAdapter(_plain(kind) or Report | ScanReport | VetReport)


def check(report: AnyReport) -> Iterator[Finding]:
    """Everything that the report alone can be held to."""
    return _of(report.kind).check(report)


def beside(report: AnyReport, folder: CheckedFolder, document: Mapping[str, Any]) -> Iterator[Finding]:
    """What the report and the other files of its folder both say. `document` is the report as it was read."""
    return _of(report.kind).beside(report, folder, document)


def compare_order(report: AnyReport, facts: Observed, document: Mapping[str, Any]) -> Iterator[Finding]:
    """What was ordered, as the statement and the report have it."""
    return _of(report.kind).order(report, facts, document)


def _of(kind: str) -> _Evidence:
    if (plain := _plain(kind)) is None:
        return _KINDS.get(kind, _OTHERS)
    return _Evidence(
        parse=partial(_parse_plain, plain),
        check=lambda _: iter(()),
        beside=lambda *_: iter(()),
        order=statement.compare_options,
    )


def _plain(kind: str) -> type[PlainReport] | None:
    """Of a kind whose report is held to itself by its type alone: all that follows is derived."""
    return KINDS[kind].report if kind in KINDS else None


def _parse_plain(kind: type[PlainReport], content: bytes) -> PlainReport:
    try:
        return load_plain(kind, content)
    except ValidationError as error:
        raise malformed(error, f"a report of kind {kind.__name__}") from error
