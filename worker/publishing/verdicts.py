"""What a job's report says of weights, by digests that the supervisor computed or checked itself."""

from __future__ import annotations

from collections.abc import Iterator

from app.db.repositories.attempt_values import NewVerdict
from app.domain.verdicts import VerdictOutcome, VerdictStage
from cleanclip.spec.report import Report
from sanitizer.audits.verdict import judge


def verdicts_of(report: Report) -> Iterator[NewVerdict]:
    """An audit's verdict is of the weights that came in. A cleaning's is of those that it made, and what its
    first audit found, judged as an audit alone, is another, of those that came in.

    `report` has been checked (`worker.publishing.believing`): its digests of weights are ours.
    """
    if report.after is None:
        yield _new(report, VerdictStage.AUDIT, report.before.weights_sha256, report.verdict.outcome)
        return
    has_limits = report.policy_source is not None and report.policy_source.given != "default"
    first = judge(
        before=report.before, gate=report.audit.gate, policy=report.policy, limits_below_gate=has_limits
    )
    yield _new(report, VerdictStage.BEFORE_CLEANING, report.before.weights_sha256, first.outcome)
    yield _new(report, VerdictStage.AFTER_CLEANING, report.after.weights_sha256, report.verdict.outcome)


def _new(report: Report, stage: VerdictStage, weights_sha256: str, outcome: str) -> NewVerdict:
    return NewVerdict(
        stage=stage,
        weights_sha256=weights_sha256,
        outcome=VerdictOutcome(outcome),
        num_triggers=report.before.num_triggers,
    )
