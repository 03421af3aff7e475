"""What publishing gives to the function that ends a kind of job, and what it gets back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from app.db.repositories.attempt_values import CheckpointAccepted, ClaimedJob, DatasetReady, NewVerdict
from app.domain.object_keys import checkpoint_attempt_prefix, output_attempt_prefix
from cleanclip.kinds.catalogue import KINDS
from cleanclip.vocabulary.report_kinds import AnyReport, verdict_of
from worker.confinement.child_json import fit_for_a_row
from worker.failures import outputs_rejected
from worker.publishing.fresh_child import Fresh
from worker.publishing.packing import Packing
from worker.publishing.shown import shown_warnings
from worker.publishing.statement import Recheck
from worker.staging.known import Known
from worker.staging.stage import Staged
from worker.tracker import Tracker

SpecT = TypeVar("SpecT")


@dataclass(frozen=True, kw_only=True)
class Publication:
    """What a job's child left (`packing`), and what it is checked and completed with."""

    job: ClaimedJob
    packing: Packing
    staged: Staged
    inputs: Path
    """The folder of that child, which is dead: fresh children are given its inputs from there."""
    fresh: Fresh
    signs: bool
    """Whether the operator has a key."""
    is_resumed: bool
    """By the state that an earlier attempt saved."""
    ended_at: str
    tracker: Tracker
    check: Callable[[], None]

    @property
    def prefix(self) -> str:
        """Of the keys of this attempt's artefacts."""
        job = self.job
        if KINDS[job.kind].reads_upload:
            return checkpoint_attempt_prefix(job.project_id, str(job.checkpoint_id), job.attempt)
        return output_attempt_prefix(job.project_id, job.id, job.attempt)

    @property
    def at(self) -> datetime:
        return datetime.fromisoformat(self.ended_at)

    @property
    def is_exact(self) -> bool:
        """Whether a second process must find the very same numbers."""
        return not self.fresh.uses_cuda and not self.is_resumed

    @property
    def known(self) -> Known:
        """Of a customer's job."""
        if self.staged.known is None:
            raise TypeError(
                f"a job of kind {self.staged.spec.kind} has nothing that its report is held against"
            )
        return self.staged.known

    def spec(self, kind: type[SpecT]) -> SpecT:
        """What the child was told. Raises TypeError where the job is of another kind."""
        if not isinstance(self.staged.spec, kind):
            raise TypeError(f"a job of kind {self.staged.spec.kind} does not end like this")
        return self.staged.spec


@dataclass(frozen=True, kw_only=True)
class Stated:
    """The report as it goes on, and whether a second process confirmed it: for the statement."""

    report: AnyReport
    recheck: Recheck


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How the job ends. `effect`: on the checkpoint or the dataset that it was about."""

    effect: CheckpointAccepted | DatasetReady | None = None
    result: dict[str, Any] = field(default_factory=dict)
    verdicts: Sequence[NewVerdict] = ()
    stated: Stated | None = None
    """None of what only the service itself reads."""


def row_of(report: AnyReport, figures: dict[str, Any]) -> dict[str, Any]:
    """What the job's row, and so every list, carries of a report: what it comes to, and these of its figures.

    Raises AttemptFailed.
    """
    verdict = verdict_of(report)
    result = {
        "headline": report.headline,
        "outcome": verdict and verdict["outcome"],
        **figures,
        "warnings": shown_warnings(report.warnings),
    }
    try:
        return fit_for_a_row(result)
    except ValueError as error:
        raise outputs_rejected(f"the figures of its report are more than a job has: {error}") from error
