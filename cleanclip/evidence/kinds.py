"""report.json of any kind of job: read as what it says that it is, and held to itself."""

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

from pydantic import TypeAdapter, ValidationError

from cleanclip.evidence import report as audits
from cleanclip.evidence import scans, vettings
from cleanclip.evidence.findings import Finding
from cleanclip.evidence.reading import malformed
from cleanclip.kinds.catalogue import KINDS
from cleanclip.vocabulary.errors import SanitizerError
from cleanclip.vocabulary.recipe import to_json
from cleanclip.vocabulary.report import Report
from cleanclip.vocabulary.report_kinds import AnyReport, PlainReport, load_plain
from cleanclip.vocabulary.scan_report import ScanReport
from cleanclip.vocabulary.strict_json import load_bounded, parse_bounded
from cleanclip.vocabulary.vet_report import VetReport

_Check = Callable[[Any], Iterator[Finding]]
_KINDS: dict[str, tuple[Callable[[bytes], AnyReport], _Check]] = {
    "scan": (scans.parse, scans.check),
    "vet": (vettings.parse, vettings.check),
}
"""What reads a report and what checks it. Of any other kind: as an audit's or a cleaning's."""
_OTHERS: tuple[Callable[[bytes], AnyReport], _Check] = (audits.parse, audits.check)


def parse(content: bytes) -> AnyReport:
    """Raises Malformed."""
    return _of(_kind_of(content))[0](content)


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
    return _of(report.kind)[1](report)


def _of(kind: str) -> tuple[Callable[[bytes], AnyReport], _Check]:
    if (plain := _plain(kind)) is not None:
        return partial(_parse_plain, plain), lambda _: iter(())
    return _KINDS.get(kind, _OTHERS)


def _plain(kind: str) -> type[PlainReport] | None:
    """Of a kind whose report is held to itself by its type alone: all that follows is derived."""
    return KINDS[kind].report if kind in KINDS else None


def _parse_plain(kind: type[PlainReport], content: bytes) -> PlainReport:
    try:
        return load_plain(kind, content)
    except ValidationError as error:
        raise malformed(error, f"a report of kind {kind.__name__}") from error
