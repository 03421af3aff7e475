"""report.json of any kind of job: read as what it says that it is, and held to itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from cleanclip.evidence import report as audits
from cleanclip.evidence import scans, vettings
from cleanclip.evidence.findings import Finding
from cleanclip.vocabulary.errors import SanitizerError
from cleanclip.vocabulary.recipe import to_json
from cleanclip.vocabulary.report_kinds import AnyReport
from cleanclip.vocabulary.strict_json import load_bounded, parse_bounded

_Check = Callable[[Any], Iterator[Finding]]
_KINDS: dict[str, tuple[Callable[[bytes], AnyReport], _Check]] = {
    "scan": (scans.parse, scans.check),
    "vet": (vettings.parse, vettings.check),
}
"""What reads a report and what checks it. Of any other kind: as an audit's or a cleaning's."""
_OTHERS: tuple[Callable[[bytes], AnyReport], _Check] = (audits.parse, audits.check)


def parse(content: bytes) -> AnyReport:
    """Raises Malformed."""
    try:
        document = parse_bounded(content)
    except ValueError:
        document = None
    kind = document.get("kind") if isinstance(document, dict) else None
    return _of(kind if isinstance(kind, str) else "")[0](content)


def counted(content: bytes) -> AnyReport | None:
    """The report that the fields make, whatever is said beside them; None where they make none."""
    try:
        report = load_bounded(_adapter(), content)
        to_json(report)  # works out all that follows
    except (ArithmeticError, LookupError, SanitizerError, ValueError):
        return None
    return report


@cache
def _adapter() -> TypeAdapter[AnyReport]:
    return TypeAdapter(AnyReport)


def check(report: AnyReport) -> Iterator[Finding]:
    """Everything that the report alone can be held to."""
    return _of(report.kind)[1](report)


def _of(kind: str) -> tuple[Callable[[bytes], AnyReport], _Check]:
    return _KINDS.get(kind, _OTHERS)
