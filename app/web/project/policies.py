"""The page of policies: limits that the project keeps by name. Who may read sees them, an admin writes."""

from collections.abc import Sequence

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import Response

from app.db.models import project as rows
from app.domain.errors import Conflict, InvalidInput
from app.domain.limits import MAX_POLICIES
from app.edge.invalid_values import error_item
from app.live.ports import Ports, PortsDep
from app.services import policies
from app.web.jobs import options, prefill
from app.web.jobs.order_form import Draft, limits_of
from app.web.jobs.order_page import mistake_sentence
from app.web.kit.addresses import PolicyPath
from app.web.kit.rendering import page, see_other
from app.web.kit.visitor import Admin, Form, FormDep, Reader, Visitor
from cleanclip.vocabulary.policy import Policy, PolicyName
from cleanclip.vocabulary.recipe import parse

PATH = "/ui/policies"

router = APIRouter()


@router.get("/policies")
def show_policies(request: Request, visitor: Reader, ports: PortsDep) -> Response:
    """Newest first, with their limits; and the form of a new one."""
    return _page(request, visitor, ports, Draft(form=Form(())))


@router.get("/policies/{name}")
def show_policy(request: Request, name: PolicyPath, visitor: Reader, ports: PortsDep) -> Response:
    """One, in the form that changes it."""
    with ports.database.unit_of_work(visitor.caller.project_id) as unit:
        row = unit.policies.get(visitor.caller.project_id, name)
    form = Form([("name", row.name), *prefill.policy_fields(row.content)])
    return _page(request, visitor, ports, Draft(form=form), changed=row)


@router.post("/policies")
def put_policy(request: Request, visitor: Admin, form: FormDep, ports: PortsDep) -> Response:
    """Keeps it under its name, in the place of what was there only where the form was opened to change it."""
    draft = Draft(form=form)
    is_change, policy = bool(form.get("is_change")), _read(draft)
    if policy is not None:
        try:
            with ports.database.unit_of_work(visitor.caller.project_id) as unit:
                if not is_change and unit.policies.find(visitor.caller.project_id, form.get("name")):
                    draft.errors["name"] = (
                        "A policy with this name exists already. Change it, or choose another name."
                    )
                else:
                    policies.put(unit, visitor.caller, form.get("name"), policy)
                    return see_other(PATH)
        except (InvalidInput, Conflict) as error:
            error.pointer = f"/policy{error.pointer or ''}"
            draft.refuse(error)
    return _page(request, visitor, ports, draft, status=422)


@router.post("/policies/{name}/delete")
def delete_policy(name: PolicyPath, visitor: Admin, form: FormDep, ports: PortsDep) -> Response:
    """At once; jobs keep their copies."""
    del form
    with ports.database.unit_of_work(visitor.caller.project_id) as unit:
        policies.delete(unit, visitor.caller, name)
    return see_other(PATH)


def _read(draft: Draft) -> Policy | None:
    """The policy of the form, or None with the errors of the draft."""
    form = draft.form
    try:
        parse(PolicyName, form.get("name"))
    except ValidationError:
        draft.errors["name"] = "2 to 63 small letters, digits and hyphens, a letter first: release-limits."
    try:
        policy = parse(Policy, limits_of(form))
    except ValidationError as error:
        for found in error.errors(include_input=False, include_url=False):
            item = error_item(
                {**found, "loc": ("body", "policy", *found["loc"])}, {"policy": limits_of(form)}
            )
            place = draft.field_of(item.pointer or "")
            draft.errors.setdefault(place, mistake_sentence(found["type"], place, item.detail))
        return None
    return None if draft.errors else policy


def _page(
    request: Request,
    visitor: Visitor,
    ports: Ports,
    draft: Draft,
    *,
    changed: rows.Policy | None = None,
    status: int = 200,
) -> Response:
    with ports.database.unit_of_work(visitor.caller.project_id) as unit:
        kept: Sequence[rows.Policy] = unit.policies.page(visitor.caller.project_id, None, MAX_POLICIES)[0]
    return page(
        request,
        "policies.html",
        status,
        policies=kept,
        form=draft.form,
        errors=draft.errors,
        options=options,
        changed_name=changed.name
        if changed
        else draft.form.get("name")
        if draft.form.get("is_change")
        else None,
    )
