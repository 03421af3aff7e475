"""Jobs as a person looks for them: by words, in both directions, without ever reading a whole project.

Words are looked for in a window of the newest jobs from the cursor on (by the index of pages); what lies
beyond is the next page's. So a search that finds nothing costs as much in a project of a million jobs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, or_, select, true

from app.db.models.assets import Checkpoint
from app.db.models.job import Job
from app.db.repositories.base import Repository
from app.db.repositories.jobs import CUTS
from app.db.repositories.pages import row_of, values_of
from app.domain.states import PUBLIC_KINDS, JobKind, JobState

WINDOW = 2_000
"""Jobs that one page looks through for words."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which jobs. `text`: words that the id, the name, the checkpoint's file name, a target or a metadata
    value has."""

    text: str = ""
    state: JobState | None = None
    kind: JobKind | None = None

    @property
    def is_everything(self) -> bool:
        return not self.text and self.state is None and self.kind is None


@dataclass(frozen=True, kw_only=True)
class FoundJobs:
    """Newest first. `older`, `newer`: where to go on looking, ids that are `after` or `before` a page."""

    rows: Sequence[Job]
    older: str | None
    newer: str | None


class JobSearch(Repository):
    def page(
        self,
        project_id: str,
        wanted: Wanted,
        limit: int,
        *,
        after: str | None = None,
        before: str | None = None,
        window: int = WINDOW,
    ) -> FoundJobs:
        """At most `limit` customers' jobs older than `after`, or newer than `before`; else the newest."""
        if before is None:
            rows, older = self._look(project_id, wanted, limit, window, start=after, is_back=False)
            newer = after if after is None or not rows else rows[0].id
            return FoundJobs(rows=rows, older=older, newer=newer)
        rows, newer = self._look(project_id, wanted, limit, window, start=before, is_back=True)
        if newer is None and len(rows) < limit:  # the first page, and a whole one
            return self.page(project_id, wanted, limit, window=window)
        rows = rows[::-1]
        return FoundJobs(rows=rows, older=rows[-1].id if rows else before, newer=newer)

    def filenames(self, project_id: str, jobs: Sequence[Job]) -> dict[str, str]:
        """The file names of their checkpoints by the checkpoints' ids, deleted ones' too."""
        ids = {job.checkpoint_id for job in jobs if job.checkpoint_id is not None}
        query = select(Checkpoint.id, Checkpoint.filename).where(
            Checkpoint.project_id == project_id, Checkpoint.id.in_(ids)
        )
        return {row.id: row.filename for row in self._session.execute(query)}

    def weights(self, project_id: str, jobs: Sequence[Job]) -> dict[str, str]:
        """The digests of the weights that they read by the checkpoints' ids, deleted ones' too."""
        ids = {job.checkpoint_id for job in jobs if job.checkpoint_id is not None}
        query = select(Checkpoint.id, Checkpoint.weights_sha256).where(
            Checkpoint.project_id == project_id, Checkpoint.id.in_(ids)
        )
        return {row.id: row.weights_sha256 for row in self._session.execute(query) if row.weights_sha256}

    def _look(
        self, project_id: str, wanted: Wanted, limit: int, window: int, *, start: str | None, is_back: bool
    ) -> tuple[Sequence[Job], str | None]:
        """Rows from `start` on in the order of looking, and where to go on; None: there is nothing more."""
        conditions = [
            Job.project_id == project_id,
            Job.kind.in_(PUBLIC_KINDS if wanted.kind is None else [wanted.kind]),
            Job.deleted_at.is_(None),
        ]
        if wanted.state is not None:
            conditions.append(Job.state == wanted.state)
        if start is not None:
            conditions.append(Job.id > start if is_back else Job.id < start)
        order = Job.id.asc() if is_back else Job.id.desc()
        ends: str | None = None
        if wanted.text:
            last = select(Job.id).where(*conditions).order_by(order).offset(window - 1).limit(1)
            ends = self._session.scalars(last).first()
            if ends is not None:
                conditions.append(Job.id <= ends if is_back else Job.id >= ends)
            conditions.append(_has(wanted.text))
        found, has_more = values_of(self._session, Job, conditions, limit, is_ascending=is_back, cuts=CUTS)
        rows: list[Job] = [row_of(Job, values) for values in found]
        return rows, (rows[-1].id if has_more else ends)


def _has(text: str) -> ColumnElement[bool]:
    """`text` is a value of the statement, and its % and _ are letters like others."""
    value = func.jsonb_each_text(Job.job_metadata).table_valued("key", "value")
    attack = func.jsonb_array_elements(Job.spec["audit"]["attacks"]).table_valued("value")
    return or_(
        Job.id.icontains(text, autoescape=True),
        Job.name.icontains(text, autoescape=True),
        Job.spec["audit"]["target"].astext.icontains(text, autoescape=True),
        select(true()).where(attack.c.value.op("->>")("target").icontains(text, autoescape=True)).exists(),
        select(true()).where(value.c.value.icontains(text, autoescape=True)).exists(),
        select(true())
        .where(Checkpoint.id == Job.checkpoint_id, Checkpoint.project_id == Job.project_id)
        .where(Checkpoint.filename.icontains(text, autoescape=True))
        .exists(),
    )
