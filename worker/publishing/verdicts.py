"""What a job's report says of weights, by digests that the supervisor computed or checked itself."""

from collections.abc import Iterator
from typing import Protocol

from app.db.repositories.attempt_values import NewVerdict
from app.domain.verdicts import VerdictOutcome, VerdictStage
from cleanclip.vocabulary.audit_figures import AuditFigures
from cleanclip.vocabulary.judging import judge
from cleanclip.vocabulary.policy import Policy, PolicySource
from cleanclip.vocabulary.recipe import AuditOptions
from cleanclip.vocabulary.report import Report
from cleanclip.vocabulary.scan_section import ScanSection
from cleanclip.vocabulary.verdicts import Verdict


def verdicts_of(report: Report) -> Iterator[NewVerdict]:
    """An audit's verdict is of the weights that came in. A cleaning's is of those that it made, and what its
    first audit found, judged as an audit alone, is another, of those that came in.

    `report` has been checked (`worker.publishing.checking`): its digests of weights are ours.
    """
    if report.after is None:
        yield _new(report, VerdictStage.AUDIT, report.before.weights_sha256, report.verdict.outcome)
        return
    alone = judged_alone(report.before, report, report.scan)
    yield verdict_before_cleaning(report.before, alone)
    yield _new(report, VerdictStage.AFTER_CLEANING, report.after.weights_sha256, report.verdict.outcome)


class Ordered(Protocol):
    """What an audit is judged by: of a report, or of an order."""

    @property
    def audit(self) -> AuditOptions: ...
    @property
    def policy(self) -> Policy: ...
    @property
    def policy_source(self) -> PolicySource: ...


def judged_alone(figures: AuditFigures, ordered: Ordered, scan: ScanSection | None) -> Verdict:
    """What an audit says of the weights that came in, whatever becomes of them; `scan` is of the scan that
    found some of its attacks. Raises what `judge` does."""
    return judge(
        before=figures,
        gate=ordered.audit.gate,
        policy=ordered.policy,
        limits_below_gate=ordered.policy_source.given != "default",
        scan=scan,
    )


def verdict_before_cleaning(figures: AuditFigures, verdict: Verdict) -> NewVerdict:
    """Of the weights that a cleaning was given."""
    return NewVerdict(
        stage=VerdictStage.BEFORE_CLEANING,
        weights_sha256=figures.weights_sha256,
        outcome=VerdictOutcome(verdict.outcome),
        num_triggers=figures.num_triggers(verdict.attacks),
    )


def _new(report: Report, stage: VerdictStage, weights_sha256: str, outcome: str) -> NewVerdict:
    return NewVerdict(
        stage=stage,
        weights_sha256=weights_sha256,
        outcome=VerdictOutcome(outcome),
        num_triggers=report.before.num_triggers(report.verdict.attacks),
    )
