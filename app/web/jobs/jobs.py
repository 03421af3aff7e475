"""The list of jobs: filtered, searched, paged, and a choice of those to compare."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.db.models.job import Job
from app.db.repositories.job_search import WINDOW, Wanted
from app.domain.states import LEASED, PUBLIC_KINDS, TERMINAL, CheckpointState, JobKind, JobState
from app.live.ports import PortsDep
from app.schemas.jobs import ProgressOut, ResultOut
from app.web.jobs import figures
from app.web.jobs.comparison import MOST_COMPARED
from app.web.jobs.failures import is_partial
from app.web.jobs.figures import AttackLine, VerdictLabel
from app.web.kit.addresses import EMPTY_IS_NONE, Cursor, Words, link, seen_mark
from app.web.kit.rendering import page
from app.web.kit.visitor import Reader
from cleanclip.kinds.catalogue import KINDS, PUBLIC

PER_PAGE = 25
HERE = "/ui/jobs"
_LINES = 3

router = APIRouter()


@dataclass(frozen=True, kw_only=True)
class JobRow:
    """A job as one row shows it."""

    job: Job
    filename: str | None
    result: ResultOut | None

    @property
    def progress(self) -> ProgressOut | None:
        """Of one that a worker holds."""
        return ProgressOut.of(self.job.progress) if self.job.state in LEASED else None

    @property
    def phase(self) -> str:
        """What its worker is at."""
        return KINDS[self.job.kind].phase(self.job.phase).title if self.job.phase else "starting"

    @property
    def method(self) -> str | None:
        return figures.method_of(self.job)

    @property
    def targets(self) -> Sequence[str]:
        return figures.targets_of(self.job)

    @property
    def verdict_label(self) -> VerdictLabel | None:
        return figures.verdict_label(self.result)

    @property
    def lines(self) -> Sequence[AttackLine]:
        """The worst attacks; `num_more` are left out."""
        lines = figures.attack_lines(self.result) if self.result else ()
        return sorted(lines, key=lambda line: line.badness)[:_LINES]

    @property
    def num_more(self) -> int:
        before = self.result.before if self.result else None
        return max(0, len(before.attacks) - _LINES) if before else 0

    @property
    def took_s(self) -> float | None:
        return figures.took_s(self.job) if self.job.state in TERMINAL else None


@router.get("/jobs")
def show_jobs(
    *,
    request: Request,
    visitor: Reader,
    ports: PortsDep,
    q: Words = "",
    state: Annotated[JobState | None, EMPTY_IS_NONE] = None,
    kind: Annotated[JobKind | None, EMPTY_IS_NONE] = None,
    after: Cursor = None,
    before: Cursor = None,
    seen: str = "",
) -> Response:
    """Newest first. A page whose jobs are under way asks for its table again; `seen` is what it shows."""
    wanted = Wanted(text=q, state=state, kind=kind if kind in PUBLIC_KINDS else None)
    project_id = visitor.caller.project_id
    with ports.database.unit_of_work(project_id) as unit:
        matches = unit.job_search.page(project_id, wanted, PER_PAGE, after=after, before=before)
        filenames = unit.job_search.filenames(project_id, matches.rows)
        is_first = wanted.is_everything and not (matches.rows or after or before)
        has_checkpoint = is_first and bool(
            unit.checkpoints.page(project_id, None, 1, state=CheckpointState.ACCEPTED)[0]
        )
    shown = seen_mark(matches.older, matches.newer, [(job.id, job.version) for job in matches.rows])
    if is_partial(request) and seen == shown:
        return Response(status_code=204)  # htmx then leaves the page as it is
    query = {"q": q, "state": state or "", "kind": wanted.kind or ""}
    current = {**query, "after": after or "", "before": before or ""}
    return page(
        request,
        "jobs_found.html" if is_partial(request) else "jobs.html",
        rows=[
            JobRow(job=job, filename=filenames.get(job.checkpoint_id or ""), result=figures.result_of(job))
            for job in matches.rows
        ],
        wanted=wanted,
        has_checkpoint=has_checkpoint,
        states=list(JobState),
        kinds=list(PUBLIC),
        older=matches.older and link(HERE, query, after=matches.older),
        newer=matches.newer and link(HERE, query, before=matches.newer),
        newest=link(HERE, query) if after or before else None,
        again=link(HERE, current, seen=shown) if _is_moving(matches.rows) else None,
        num_running=sum(job.state in LEASED for job in matches.rows),
        num_waiting=sum(job.state is JobState.QUEUED for job in matches.rows),
        is_part_searched=bool(q) and matches.older is not None and len(matches.rows) < PER_PAGE,
        window=WINDOW,
        most_compared=MOST_COMPARED,
    )


def _is_moving(rows: Sequence[Job]) -> bool:
    return any(job.state not in TERMINAL and job.state is not JobState.PAUSED for job in rows)
