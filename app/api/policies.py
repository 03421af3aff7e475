"""Routes of policies: keep limits under a name, list, read, delete. Jobs are ordered with `policy_name`."""

from typing import Annotated

from fastapi import APIRouter, Body, Request
from starlette.responses import Response

from app.api.answers import cached_answer, etag_of, json_answer, page_of, refusals
from app.api.auth import Admin, Reader
from app.api.paths import After, Limit, PolicyPath
from app.api.turns import IN_TURN
from app.domain.limits import DEFAULT_PAGE
from app.live.ports import PortsDep
from app.schemas.policies import PolicyOut, PolicyPage
from app.services import policies
from cleanclip.vocabulary.policy import Policy

router = APIRouter(prefix="/v1/policies", tags=["policies"])


@router.get(
    "",
    summary="Policies, newest first",
    response_model=PolicyPage,
    responses=refusals(304, 422),
    dependencies=[IN_TURN],
)
def list_policies(
    *, request: Request, caller: Reader, ports: PortsDep, after: After = None, limit: Limit = DEFAULT_PAGE
) -> Response:
    """Each with its limits."""
    with ports.database.unit_of_work(caller.project_id) as unit:
        rows, has_more = unit.policies.page(caller.project_id, after, limit)
    etag = etag_of([has_more, *((row.id, row.updated_at) for row in rows)])
    return cached_answer(request, etag, lambda: page_of(PolicyPage, map(PolicyOut.of, rows), has_more))


@router.get(
    "/{policy_name}", summary="The limits of a policy", response_model=PolicyOut, responses=refusals(304, 404)
)
def get_policy(policy_name: PolicyPath, request: Request, caller: Reader, ports: PortsDep) -> Response:
    """These are the current limits. A job has its own copy, in the job and in its report."""
    with ports.database.unit_of_work(caller.project_id) as unit:
        row = unit.policies.get(caller.project_id, policy_name)
    etag = etag_of([row.id, row.updated_at])
    return cached_answer(request, etag, lambda: PolicyOut.of(row))


@router.put(
    "/{policy_name}",
    summary="Create or change a policy",
    response_model=PolicyOut,
    responses={201: {"description": "The name is new.", "model": PolicyOut}, **refusals(404, 409, 413, 422)},
)
def put_policy(
    policy_name: PolicyPath, caller: Admin, ports: PortsDep, body: Annotated[Policy, Body()]
) -> Response:
    """An existing policy of that name is replaced; jobs keep the limits that they were ordered with.

    Scope admin.
    """
    with ports.database.unit_of_work(caller.project_id) as unit:
        row, is_new = policies.put(unit, caller, policy_name, body)
        policy = PolicyOut.of(row)
    headers = {"Location": policy.links.self} if is_new else {}
    return json_answer(policy, status=201 if is_new else 200, headers=headers)


@router.delete("/{policy_name}", summary="Delete a policy", status_code=204, responses=refusals(404))
def delete_policy(policy_name: PolicyPath, caller: Admin, ports: PortsDep) -> Response:
    """Takes effect at once. Jobs keep the limits that they were ordered with. Scope admin."""
    with ports.database.unit_of_work(caller.project_id) as unit:
        policies.delete(unit, caller, policy_name)
    return Response(status_code=204)
