"""What finished jobs found out about weights, by the digest of the weights: a job may have two rows.

Whoever sends the same weights again, under whatever name, finds the verdicts of before.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Computed, ForeignKey, Index, func
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, word_of
from app.domain.verdicts import VerdictOutcome, VerdictStage


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
            "CASE outcome WHEN 'fail' THEN 3 WHEN 'undecided' THEN 2 WHEN 'inconclusive' THEN 1 ELSE 0 END",
            persisted=True,
        )
    )
    num_triggers: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    @property
    def has_found(self) -> bool:
        """Whether it speaks against the weights."""
        return self.outcome in {VerdictOutcome.FAIL, VerdictOutcome.UNDECIDED}
