"""What jobs found out about weights, by the digest of the weights: a job may have two rows. That of an audit
before cleaning is there as soon as the audit is.

Whoever sends the same weights again, under whatever name, finds the verdicts of before.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Computed, ForeignKey, Index, func, select
from sqlalchemy.orm import Mapped, column_property, mapped_column

from app.db.base import Base, word_of
from app.db.models.job import Job
from app.domain.states import JobState
from app.domain.verdicts import VerdictOutcome, VerdictStage
from cleanclip.spec.verdicts import AGAINST

_JOBS = Job.__table__.alias("its_job")  # another than that of a query which joins jobs


class WeightsVerdict(Base):
    __tablename__ = "verdicts"
    __table_args__ = (
        Index("ix_verdicts_worst_first", "project_id", "weights_sha256", "badness", "job_id", "stage"),
    )

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    stage: Mapped[VerdictStage] = mapped_column(word_of(VerdictStage, "stage"), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    weights_sha256: Mapped[str]
    """Of the canonical safetensors file, as the supervisor read or wrote it."""
    outcome: Mapped[VerdictOutcome] = mapped_column(word_of(VerdictOutcome, "outcome"))
    badness: Mapped[int] = mapped_column(
        Computed(
            "CASE outcome WHEN 'fail' THEN 4 WHEN 'controlled' THEN 3 WHEN 'undecided' THEN 2"
            " WHEN 'inconclusive' THEN 1 ELSE 0 END",
            persisted=True,
        )
    )
    num_triggers: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    is_preliminary: Mapped[bool] = column_property(
        select(_JOBS.c.state != JobState.SUCCEEDED)
        .where(_JOBS.c.id == job_id)
        .correlate_except(_JOBS)
        .scalar_subquery()
    )
    """Measured before cleaning, by a job that has not succeeded: not signed, confirmed by no second audit."""

    @property
    def has_found(self) -> bool:
        """Whether it speaks against the weights."""
        return self.outcome in AGAINST
