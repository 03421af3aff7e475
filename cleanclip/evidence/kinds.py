"""report.json of any kind of job: read as what it says that it is, and held to itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from cleanclip.evidence import report as audits
from cleanclip.evidence import scans, vettings
from cleanclip.evidence.findings import Finding
from cleanclip.spec.report_kinds import AnyReport
from cleanclip.spec.strict_json import parse_bounded

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


def check(report: AnyReport) -> Iterator[Finding]:
    """Everything that the report alone can be held to."""
    return _of(report.kind)[1](report)


def _of(kind: str) -> tuple[Callable[[bytes], AnyReport], _Check]:
    return _KINDS.get(kind, _OTHERS)
