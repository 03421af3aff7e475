"""Verdicts on weights, worst first: two statements for a page of digests, and no more rows than are shown."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import column as sql_column
from sqlalchemy import func, select, true, values
from sqlalchemy.orm import aliased
from sqlalchemy.types import Text

from app.db.models.assets import WeightsVerdict
from app.db.models.job import Job
from app.db.repositories.base import Repository
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
        return [self.num, *((row.job_id, row.stage, row.is_preliminary) for row in self.rows)]


NO_VERDICTS = FoundVerdicts()


class VerdictRepository(Repository):
    def on(self, project_id: str, weights_sha256: str | None, limit: int) -> FoundVerdicts:
        """The worst `limit` on these weights; deleted jobs' are not found."""
        return self.on_each(project_id, [weights_sha256], limit).get(weights_sha256, NO_VERDICTS)

    def of_job(self, project_id: str, job_id: str, limit: int) -> tuple[WeightsVerdict | None, FoundVerdicts]:
        """The job's own verdict, if it has one, and the worst `limit` on the same weights, with its own. Of a
        cleaning it is that on the weights that it made; until then, that on those that came in."""
        query = select(WeightsVerdict).where(
            WeightsVerdict.project_id == project_id, WeightsVerdict.job_id == job_id
        )
        last = WeightsVerdict.stage == VerdictStage.BEFORE_CLEANING  # false sorts before true
        own = self._session.scalars(query.order_by(last).limit(1)).one_or_none()
        return own, self.on(project_id, None if own is None else own.weights_sha256, limit)

    def on_each(
        self, project_id: str, digests: Collection[str | None], limit: int
    ) -> Mapping[str | None, FoundVerdicts]:
        """By digest; one that nobody judged is left out."""
        asked = sorted({digest for digest in digests if digest is not None})
        if not asked:
            return {}
        wanted = values(sql_column("digest", Text), name="wanted").data([(one,) for one in asked])
        of_one = (
            select(WeightsVerdict)
            .join(Job, Job.id == WeightsVerdict.job_id)
            .where(
                WeightsVerdict.project_id == project_id,
                WeightsVerdict.weights_sha256 == wanted.c.digest,
                Job.deleted_at.is_(None),
            )
            .correlate(wanted)
        )
        worst_first = (
            WeightsVerdict.badness.desc(),
            WeightsVerdict.job_id.desc(),
            WeightsVerdict.stage.desc(),
        )  # by the index
        worst = of_one.order_by(*worst_first).limit(limit).lateral("worst")
        counted = of_one.with_only_columns(WeightsVerdict.job_id).limit(MOST_COUNTED).lateral("counted")
        rows = select(aliased(WeightsVerdict, worst)).select_from(wanted.join(worst, true()))
        nums = (
            select(wanted.c.digest, func.count())
            .select_from(wanted.join(counted, true()))
            .group_by(wanted.c.digest)
        )
        by_digest: dict[str, list[WeightsVerdict]] = {}
        for row in self._session.scalars(rows):
            by_digest.setdefault(row.weights_sha256, []).append(row)
        return {
            digest: FoundVerdicts(rows=by_digest.get(digest, ()), num=num)
            for digest, num in self._session.execute(nums)
        }
