"""Whether what a report says of other people's scanners fits itself: issues counted, and how bad they are."""

from __future__ import annotations

from collections.abc import Iterator

from cleanclip.evidence.findings import Finding, misfit
from cleanclip.spec.report import Report
from cleanclip.spec.report_inputs import ScannerEvidence

_MAX_SHOWN = 20
_ANSWERS = frozenset({"nothing_found", "suspicious", "dangerous", "inconclusive"})


def check(report: Report) -> Iterator[Finding]:
    """A scanner that answered shows all its issues, or the first twenty; one that did not has none."""
    for index, scanner in enumerate(report.checkpoint.scanners):
        where = f"checkpoint.scanners[{index}]"
        has_answered = scanner.verdict in _ANSWERS
        num_shown = min(scanner.num_issues, _MAX_SHOWN) if has_answered else 1  # why it did not
        if len(scanner.issues) != num_shown or (scanner.num_issues and not has_answered):
            yield misfit(
                f"{where}.num_issues", f"is {scanner.num_issues}, and {len(scanner.issues)} are shown"
            )
        expected = _expected(scanner)
        if has_answered and expected not in {None, scanner.verdict}:
            yield misfit(f"{where}.verdict", f"is {scanner.verdict}, but its issues make {expected}")


def _expected(scanner: ScannerEvidence) -> str | None:
    """picklescan's verdict is its worst issue, and the worst come first; the other has rules of its own."""
    if scanner.name != "picklescan":
        return None
    if not scanner.issues:
        return None if scanner.verdict in {"nothing_found", "inconclusive"} else "nothing_found"
    return scanner.issues[0].partition(":")[0]
