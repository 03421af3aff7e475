"""Whether a report's verdict, its sentences included, is the one that follows from the figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from cleanclip.evidence.findings import Finding, misfit
from cleanclip.spec.judging import judge_report
from cleanclip.spec.report import Report


def check(report: Report) -> Iterator[Finding]:
    """Each part that is not what our own code makes of the figures."""
    try:
        expected = judge_report(report)
    except (ArithmeticError, LookupError, ValueError) as error:
        yield misfit("verdict", f"follows from no figures of this kind: {error}")
        return
    for where in _differing("verdict", asdict(report.verdict), asdict(expected)):
        yield misfit(where, "does not follow from the figures")


def _differing(where: str, given: Any, expected: Any) -> Iterator[str]:
    if isinstance(given, dict) and isinstance(expected, dict):
        for name in expected:
            yield from _differing(f"{where}.{name}", given[name], expected[name])
    elif isinstance(given, tuple) and isinstance(expected, tuple) and len(given) == len(expected):
        for number, (one, other) in enumerate(zip(given, expected, strict=True)):
            yield from _differing(f"{where}[{number}]", one, other)
    elif given != expected:
        yield where
