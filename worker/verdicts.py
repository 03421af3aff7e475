"""What a job's report says of weights, by digests that the supervisor computed itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from app.db.repositories.attempt_values import NewVerdict
from app.domain.verdicts import VerdictOutcome, VerdictStage
from sanitizer.attack_options import kind_told
from sanitizer.jobspec import CHECKPOINT_PATH, WEIGHTS_NAME
from sanitizer.report import Report
from worker.staging import Staged


def verdicts_of(report: Report, staged: Staged, sha256: Mapping[str, str]) -> Iterator[NewVerdict]:
    """An audit's verdict is of the weights that came in. A cleaning's is of those that it made, and what its
    first audit found is another, of those that came in. `sha256` is of the files that the job left."""
    path = f"{CHECKPOINT_PATH}/{WEIGHTS_NAME}"
    came_in = next(one.sha256 for one in staged.received if one.path == path)
    told = VerdictOutcome(report.verdict.outcome)
    num_triggers = report.before.num_triggers
    if report.after is None:
        yield NewVerdict(
            stage=VerdictStage.AUDIT, weights_sha256=came_in, outcome=told, num_triggers=num_triggers
        )
        return
    yield NewVerdict(
        stage=VerdictStage.BEFORE_CLEANING,
        weights_sha256=came_in,
        outcome=_before_cleaning(report),
        num_triggers=num_triggers,
    )
    yield NewVerdict(
        stage=VerdictStage.AFTER_CLEANING,
        weights_sha256=sha256[WEIGHTS_NAME],
        outcome=told,
        num_triggers=num_triggers,
    )


def _before_cleaning(report: Report) -> VerdictOutcome:
    """As an audit of the same figures by the same policy is judged (`sanitizer.audits.verdict`)."""
    has_limits = report.policy_source is not None and report.policy_source.given != "default"
    for attack in report.before.attacks:
        _, limit = report.policy.limit_of(kind_told(attack.options))
        works_in_part = has_limits and report.before.works_in_part(attack, limit)
        if attack.asr.value >= report.audit.gate or works_in_part:
            return VerdictOutcome.FAIL
    return VerdictOutcome.INCONCLUSIVE
