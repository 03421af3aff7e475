"""The form of a new job read as the order that the API would take, and refusals of it put beside its fields.

Fields of options are named "GROUP/OPTION" (`options`); of the others the names are here. What belongs to a
choice that was not made is not read, whatever stands in it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from app.schemas.orders import JobIn
from app.web.jobs import options
from app.web.jobs.order_page import OrderDraft, named
from app.web.kit.visitor import Form
from cleanclip.kinds.catalogue import PUBLIC
from cleanclip.kinds.kind import Kind
from cleanclip.vocabulary.proposed import CLEANCLIP, UAR, reason_for_uar
from cleanclip.vocabulary.recipe import parse_recipe, to_json
from cleanclip.vocabulary.recommended import Model, model_of
from cleanclip.vocabulary.strict_json import RepeatedKey, unique_keys

_ORDER: TypeAdapter[Any] = TypeAdapter(JobIn)
METHOD_PROPOSED = "proposed"
_NOT_UAR = "a trigger is named, none is structured, and the image tower is not known to be a ViT"
RECIPE_RECOMMENDED, RECIPE_DEFAULTS = "recommended", "defaults"
SUITE_USUAL, SUITE_FOUND, SUITE_LIST, SUITE_JSON = "usual", "found", "list", "json"
_PAGE = "jobs"
"""Of the kinds of jobs that this form orders."""
FROM_SCAN = "audit/attacks_from_scan"
_NO_TARGET = "Write the class, or choose “Clean” and “Scan first”: the scan finds one."
POLICY_DEFAULT, POLICY_KEPT, POLICY_GIVEN = "default", "kept", "given"


@dataclass(kw_only=True)
class Draft(OrderDraft):
    """Of an audit or a cleaning."""

    attacks: tuple[str, ...] = ()
    """The groups of the attacks in the order's list, in their order."""

    def field_of(self, pointer: str) -> str:
        path = super().field_of(pointer)
        first, _, rest = path.partition("/")
        match first:
            case "recipe":
                method = self.form.get("method")
                return (
                    f"{method}/{rest}"
                    if rest not in ("", "method") and method in options.methods()
                    else "method"
                )
            case "policy":
                name, _, limit = rest.partition("/")
                if name == "asr_at_most_for":
                    return options.LIMIT + limit if limit else "policy"
                return f"policy/{name}" if name else "policy"
            case "metadata" | "exclude":
                return first
            case "audit":
                return _field_of_audit(rest, self)
            case _:
                return path


def read(form: Form, *, default_max_attempts: int, inspection: Mapping[str, Any] | None = None) -> Draft:
    """Everything that is wrong with it is in `errors`; then there is no order. `inspection` is that of the
    checkpoint, for the values that are recommended for it."""
    draft = Draft(form=form)
    draft.body = _body(form, draft)
    if draft.body.get("recipe", {}).get("method") == METHOD_PROPOSED:
        _propose(draft, None if inspection is None else model_of(inspection))
    draft.take(_ORDER, default_max_attempts=default_max_attempts)
    _beside(draft)
    return draft


def _propose(draft: Draft, model: Model | None) -> None:
    """The method of a form that leaves it open, and why."""
    reason = reason_for_uar(draft.body["audit"], None if model is None else model[0])
    draft.body["recipe"] = {"method": CLEANCLIP if reason is None else UAR}
    if draft.form.get("recipe") == RECIPE_DEFAULTS:
        draft.body["recipe"] = to_json(parse_recipe(draft.body["recipe"]))
    draft.recipe_note = reason or f"The method is CleanCLIP. It is not UAR: {_NOT_UAR}."


def _beside(draft: Draft) -> None:
    """Adds the order of CleanCLIP beside it, where that is wanted."""
    order = draft.order
    if not draft.form.get("beside") or order is None or order.recipe is None:
        return
    if order.recipe.method == CLEANCLIP:
        draft.errors["beside"] = "This order is CleanCLIP itself. Choose another method, or leave this out."
    elif order.recipe.training_data != "pairs":
        draft.errors["beside"] = "CleanCLIP trains on pairs. Choose pairs, or leave this out."
    else:
        draft.has_beside = True
        return
    draft.order = None


def _field_of_audit(path: str, draft: Draft) -> str:
    first, _, rest = path.partition("/")
    match first:
        case "attacks":
            number, _, option = rest.partition("/")
            if draft.form.get("suite") == SUITE_JSON:
                return "attacks_json"
            if number.isdigit() and int(number) < len(draft.attacks):
                return f"{draft.attacks[int(number)]}/{option or 'target'}"
            return "suite"
        case "linear_probe":
            return f"probe/{rest}" if rest else "linear_probe"
        case "rebound":
            return f"rebound/{rest}" if rest else "rebound"
        case "templates" | "target" | "suite":
            return first
        case "":
            return "suite"  # the whole audit: suite and attacks, or too many images
        case _:
            return f"audit/{path}"


def kind_of(name: str | None) -> Kind:
    """The kind of that name, if this form orders it; else the one that trains a model, a cleaning."""
    here = [kind for kind in PUBLIC.values() if kind.page == _PAGE]
    return next((kind for kind in here if kind.name == name), None) or next(
        kind for kind in here if kind.trains
    )


def _body(form: Form, draft: Draft) -> dict[str, Any]:
    kind = kind_of(form.get("kind"))
    body: dict[str, Any] = {
        "kind": kind.name,
        **named(form, "checkpoint_id"),
        "audit": _audit(form, draft),
        **_policy(form),
    }
    if kind.trains:
        method = form.get("method")
        known = options.methods().get(method)
        body |= named(form, "dataset_id")
        body["recipe"] = {"method": method} | (options.given(form, known.options) if known else {})
        if form.get("recipe") == RECIPE_DEFAULTS and known:
            body["recipe"] = to_json(parse_recipe({"method": method})) | body["recipe"]
        body["scan"] = bool(form.get("scan"))
        if layout := form.get("output_layout"):
            body["output_layout"] = layout
    if vettings := options.lines(form.get("exclude")):
        body["exclude"] = vettings
    body |= options.given(form, options.of_order().options)
    if metadata := _metadata(form, draft):
        body["metadata"] = metadata
    return body


def _audit(form: Form, draft: Draft) -> dict[str, Any]:
    audit: dict[str, Any] = {
        **named(form, "audit/dataset_id", "dataset_id"),
        **named(form, "audit/retrieval_dataset_id", "retrieval_dataset_id"),
        **options.given(form, options.audit().options),
    }
    if target := form.get("target"):
        audit["target"] = target
    elif not kind_of(form.get("kind")).trains or not form.get("scan"):
        draft.errors["target"] = _NO_TARGET
    if templates := options.lines(form.get("templates")):
        audit["templates"] = templates
    if form.get("linear_probe"):
        audit["linear_probe"] = options.given(form, options.probe().options)
    if form.get("rebound") and kind_of(form.get("kind")).trains:
        audit["rebound"] = options.given(form, options.rebound().options)
    match form.get("suite"):
        case "" | "usual":
            pass
        case "found":
            audit |= named(form, FROM_SCAN, "attacks_from_scan")
            if "attacks_from_scan" not in audit:
                draft.errors[FROM_SCAN] = "Name the scan: job_…"
        case "list":
            audit["attacks"] = _chosen_attacks(form, draft)
        case "json":
            audit["attacks"] = _json_attacks(form, draft)
        case suite:
            audit["suite"] = suite
    return audit


def _chosen_attacks(form: Form, draft: Draft) -> list[dict[str, Any]]:
    draft.attacks = tuple(name for name in options.attacks() if name in form.all("attack"))
    if not draft.attacks:
        draft.errors["suite"] = "Choose at least one trigger of the list."
    return [{"attack": name} | options.given(form, options.attacks()[name].options) for name in draft.attacks]


def _json_attacks(form: Form, draft: Draft) -> Any:
    try:
        return json.loads(form.get("attacks_json"), object_pairs_hook=unique_keys)
    except RepeatedKey:
        draft.errors["attacks_json"] = (
            "One object of the list has a key twice; it is not clear which value you mean."
        )
    except (ValueError, RecursionError):
        draft.errors["attacks_json"] = (
            'This is not JSON. A list is expected, for example [{"attack": "badnet"}].'
        )
    return [{"attack": "badnet"}]  # so that the other fields are still looked at


def _policy(form: Form) -> dict[str, Any]:
    match form.get("policy"):
        case "kept":
            return {"policy_name": form.get("policy_name")}
        case "given":
            return {"policy": limits_of(form)}
        case _:
            return {}


def limits_of(form: Form) -> dict[str, Any]:
    """Of a form that holds the fields of a policy."""
    limits = options.given(form, options.policy().options)
    own = {
        name: options.parse_number(text)
        for name in options.limit_names()
        if (text := form.get(options.LIMIT + name))
    }
    return limits | ({"asr_at_most_for": own} if own else {})


def _metadata(form: Form, draft: Draft) -> Mapping[str, str]:
    notes: dict[str, str] = {}
    for line in options.lines(form.get("metadata")):
        name, equals, value = line.partition("=")
        if not equals:
            draft.errors["metadata"] = "Each line is a name and a value: ticket=ML-42."
        elif name.strip() in notes:
            draft.errors["metadata"] = f"{name.strip()} is there twice."
        else:
            notes[name.strip()] = value.strip()
    return notes
