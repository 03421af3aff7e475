"""Verdicts on weights, worst first: one statement for a page of digests, and no more rows than are shown."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import column as sql_column
from sqlalchemy import func, select, true, values
from sqlalchemy.orm import Session, aliased
from sqlalchemy.types import Text

from app.db.models.job import Job
from app.db.models.verdict import WeightsVerdict
from app.domain.verdicts import VerdictStage

MOST_COUNTED = 1_000
"""Beyond it a digest's verdicts are not counted: reading a checkpoint costs no more for it."""


@dataclass(frozen=True, kw_only=True)
class FoundVerdicts:
    """Those on one digest: worst first, then newest first. `num` is of all, up to MOST_COUNTED."""

    rows: Sequence[WeightsVerdict] = ()
    num: int = 0

    @property
    def mark(self) -> list[object]:
        """Changes whenever what is found does; for an ETag."""
        return [self.num, *((row.job_id, row.stage) for row in self.rows)]


NO_VERDICTS = FoundVerdicts()


class VerdictRepository:
    def __init__(self, session: Session) -> None:
        self._session = session

    def on(self, project_id: str, weights_sha256: str | None, limit: int) -> FoundVerdicts:
        """The worst `limit` on these weights; deleted jobs' are not found."""
        return self.on_each(project_id, [weights_sha256], limit).get(weights_sha256, NO_VERDICTS)

    def of_job(self, project_id: str, job_id: str, limit: int) -> tuple[WeightsVerdict | None, FoundVerdicts]:
        """The job's own verdict, if it has one, and the worst `limit` on the same weights, with its own."""
        query = select(WeightsVerdict).where(
            WeightsVerdict.project_id == project_id,
            WeightsVerdict.job_id == job_id,
            WeightsVerdict.stage != VerdictStage.BEFORE_CLEANING,
        )
        own = self._session.scalars(query).one_or_none()
        return own, self.on(project_id, None if own is None else own.weights_sha256, limit)

    def on_each(
        self, project_id: str, digests: Collection[str | None], limit: int
    ) -> Mapping[str | None, FoundVerdicts]:
        """By digest; one that nobody judged is left out."""
        asked = sorted({digest for digest in digests if digest is not None})
        if not asked:
            return {}
        wanted = values(sql_column("digest", Text), name="wanted").data([(one,) for one in asked])
        found = (
            select(WeightsVerdict)
            .join(Job, Job.id == WeightsVerdict.job_id)
            .where(
                WeightsVerdict.project_id == project_id,
                WeightsVerdict.weights_sha256 == wanted.c.digest,
                Job.deleted_at.is_(None),
            )
        )
        worst = (
            found.order_by(
                WeightsVerdict.badness.desc(), WeightsVerdict.job_id.desc(), WeightsVerdict.stage.desc()
            )
            .limit(limit)
            .lateral("worst")
        )
        counted = found.with_only_columns(WeightsVerdict.job_id).limit(MOST_COUNTED).subquery().lateral()
        num = select(func.count()).select_from(counted)
        row = aliased(WeightsVerdict, worst)
        query = select(row, num.scalar_subquery()).select_from(wanted).join(worst, true())
        by_digest: dict[str, list[WeightsVerdict]] = {}
        nums: dict[str, int] = {}
        for verdict, how_many in self._session.execute(query):
            by_digest.setdefault(verdict.weights_sha256, []).append(verdict)
            nums[verdict.weights_sha256] = how_many
        return {digest: FoundVerdicts(rows=rows, num=nums[digest]) for digest, rows in by_digest.items()}
