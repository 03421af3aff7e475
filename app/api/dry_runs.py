"""Route of dry runs: what an order of a job would do. Orders nothing, and keeps nothing."""

from collections.abc import AsyncIterator

from fastapi import APIRouter, Depends

from app.api.answers import refusals
from app.api.auth import Runner
from app.domain.errors import DomainError, NotFound
from app.live.ports import PortsDep
from app.schemas.dry_runs import DryRunOut, ObstacleOut, PhaseAheadOut, SpanOut
from app.schemas.orders import DryRunIn
from app.services import dry_run, found_attacks
from app.services.dry_run import DryRun
from app.services.estimates import Span
from app.services.orders import Order
from cleanclip.vocabulary.recipe import to_json

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


async def _place(caller: Runner, ports: PortsDep) -> AsyncIterator[None]:
    """To compute in; it is free again before the answer is sent."""
    async with ports.computing.one_for(caller.project_id):
        yield


@router.post(
    "/dry-run",
    summary="What an order would do, without ordering it",
    response_model=DryRunOut,
    responses=refusals(404, 413, 422),
    dependencies=[Depends(_place, scope="function")],
)
def dry_run_job(body: DryRunIn, caller: Runner, ports: PortsDep) -> DryRunOut:
    """The body is that of an order; ids of things that do not exist yet may be left out.

    `obstacles` lists everything that would be refused. As in an order, unknown ids fail with 404 and values
    out of bounds with 422.
    """
    order = Order.of(body, default_max_attempts=ports.settings.jobs.max_attempts)
    order, refused = found_attacks.with_found_or_refusal(ports.database, ports.store, caller, order)
    with ports.database.unit_of_work(caller.project_id) as unit:
        ahead = dry_run.look_ahead(unit, caller, order, ports.settings, refused)
    for refusal in ahead.refusals:
        if isinstance(refusal, NotFound):
            raise refusal
    return _shown(body.kind, ahead)


def _shown(kind: str, ahead: DryRun) -> DryRunOut:
    return DryRunOut.model_validate(
        {
            "kind": kind,
            "recipe": None if ahead.recipe is None else to_json(ahead.recipe),
            "recipe_source": None if ahead.recipe_source is None else to_json(ahead.recipe_source),
            "plan": None if ahead.plan is None else to_json(ahead.plan),
            "phases": [
                PhaseAheadOut.model_validate(
                    {
                        "name": one.phase.name,
                        "does": one.does,
                        "amount": one.amount,
                        "unit": one.phase.unit,
                        "time": _span(one.span),
                    }
                )
                for one in ahead.phases
            ],
            "time": _span(ahead.total),
            "obstacles": [_obstacle(refusal) for refusal in ahead.refusals],
            "warnings": list(ahead.warnings),
        }
    )


def _span(span: Span | None) -> SpanOut | None:
    return None if span is None else SpanOut(low_s=span.low_s, high_s=span.high_s, num_jobs=span.num_jobs)


def _obstacle(refusal: DomainError) -> ObstacleOut:
    return ObstacleOut(
        code=refusal.code, detail=refusal.message, remedy=refusal.remedy, pointer=refusal.pointer
    )
