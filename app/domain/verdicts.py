"""Verdicts on weights: how bad one is, and which of a job's audits it is of."""

from enum import StrEnum

MOST_SHOWN = 20
"""Of those on a checkpoint's weights, beside the checkpoint."""
MOST_IN_LISTS = 3
"""The same, of each checkpoint in a list."""


class VerdictOutcome(StrEnum):
    """Worst first: the order of every list of verdicts."""

    FAIL = "fail"
    CONTROLLED = "controlled"
    UNDECIDED = "undecided"
    INCONCLUSIVE = "inconclusive"
    PASS = "pass"  # noqa: S105 - a word, no secret


class VerdictStage(StrEnum):
    """An audit and a scan judge the weights that came in. A cleaning judges those that it made, and its audit
    before cleaning says what the weights that came in are."""

    AUDIT = "audit"
    BEFORE_CLEANING = "before_cleaning"
    AFTER_CLEANING = "after_cleaning"
    SCAN = "scan"

    @property
    def phrase(self) -> str:
        """What the verdict is of."""
        return _PHRASES[self]


_PHRASES = {
    VerdictStage.AUDIT: "an audit",
    VerdictStage.BEFORE_CLEANING: "the audit before a cleaning",
    VerdictStage.AFTER_CLEANING: "the cleaning that made them",
    VerdictStage.SCAN: "a scan",
}
