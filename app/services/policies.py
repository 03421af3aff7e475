"""Policies kept by name, and what is wrong with a policy for an order. A job copies the policy it is given.

Whoever may order a job may send any limits with it; a name stands for limits that others rely on, so only a
key with scope admin writes what it means (the routes see to that).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from app.db.models import project as rows
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import Conflict
from app.domain.ids import new_id
from app.domain.limits import MAX_POLICIES
from app.services.api_keys import Caller
from app.services.orders import as_invalid
from app.services.trail import note
from cleanclip.vocabulary.attack_options import kind_of
from cleanclip.vocabulary.cautions import check_rebound
from cleanclip.vocabulary.clip_text import num_different
from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.found_attacks import KINDS_FOUND
from cleanclip.vocabulary.policy import (
    Policy,
    PolicySource,
    check_audit,
    check_images,
    check_itself,
    check_searched,
    too_few,
)
from cleanclip.vocabulary.recipe import AuditOptions, Recipe, parse, to_json


def put(unit: UnitOfWork, caller: Caller, name: str, policy: Policy) -> tuple[rows.Policy, bool]:
    """Keep the policy under the name, in the place of what was there; and whether the name is new.

    Raises InvalidInput (`policy_cannot_pass`), Conflict (`too_many_policies`).
    """
    with _placed(""):
        check_itself(policy)
    unit.quotas.hold(caller.project_id)
    row = unit.policies.find(caller.project_id, name, for_update=True)
    is_new = row is None
    if row is not None:
        row = unit.policies.change(row, to_json(policy))
    elif unit.policies.count(caller.project_id) >= MAX_POLICIES:
        raise Conflict(
            "too_many_policies",
            f"The project has {MAX_POLICIES} policies already, which is the limit.",
            "Delete one that is not needed any more; jobs keep what they were ordered with.",
        )
    else:
        row = unit.policies.add(
            rows.Policy(id=new_id("pol"), project_id=caller.project_id, name=name, content=to_json(policy))
        )
    note(unit, caller, "policy.put", row.id)
    return row, is_new


def delete(unit: UnitOfWork, caller: Caller, name: str) -> None:
    """At once and for good; jobs keep their copies. Raises NotFound."""
    row = unit.policies.get(caller.project_id, name, for_update=True)
    unit.policies.remove(row)
    note(unit, caller, "policy.delete", row.id)


def resolve(
    unit: UnitOfWork, project_id: str, given: Policy | None, name: str | None
) -> tuple[Policy, PolicySource]:
    """The policy of an order, and where it came from. Raises NotFound."""
    if name is not None:
        given = parse(Policy, unit.policies.get(project_id, name).content)
    return given or Policy(), PolicySource.of(given, name=name)


def check_order(
    policy: Policy,
    source: PolicySource,
    audit: AuditOptions,
    *,
    summary: dict[str, Any] | None,
    num_labelled: int | None,
    recipe: Recipe | None,
    may_find: bool = False,
) -> None:
    """`summary` is the labelled set's; None for an order whose policy nothing has to pass. `recipe` None: an
    audit. `may_find`: attacks that a scan has yet to find are audited, too.

    Raises InvalidInput (`policy_limits_untried`, `policy_limits_unsearched`, `policy_cannot_pass`, and for
    the rebound `policy_limits_unmeasured`, `rebound_without_clean_data`, `rebound_too_long`). Limits that
    nobody gave are held against the number of images by the job itself, which warns.
    """
    with _placed("/policy_name" if source.given == "kept" else "/policy"):
        check_audit(policy, audit.attacks, KINDS_FOUND if may_find else ())
        check_rebound(audit, policy, recipe)
        if recipe is not None and num_labelled is not None:
            names = (summary or {}).get("class_names")
            check_searched(policy, num_labelled, num_different(names) if names else None)
        for attack in audit.attacks if source.given != "default" else ():
            num_images = _num_other_images(summary, attack.target or audit.target)
            if num_images is not None:
                check_images(policy, attack, num_images)


def limits_too_strict(policy: Policy, audit: AuditOptions, *, summary: dict[str, Any] | None) -> list[str]:
    """Where so few images could show no limit to be kept; of limits that nobody gave and nobody refuses."""
    found = []
    for attack in audit.attacks:
        num_images = _num_other_images(summary, attack.target or audit.target)
        _, limit = policy.limit_of(kind_of(attack))
        if num_images is not None and (sentence := too_few(limit, num_images)) is not None:
            found.append(sentence)
    return list(dict.fromkeys(found))


def _num_other_images(summary: dict[str, Any] | None, target: str) -> int | None:
    """Images of other classes than the target, where the validation counted them."""
    names, counts = ((summary or {}).get(key) or [] for key in ("class_names", "images_per_class"))
    num_of_target = names.count(target)
    if len(names) != len(counts) or num_of_target == 0:
        return None
    left, number = int(sum(counts)), -1
    for _ in range(num_of_target):
        number = names.index(target, number + 1)  # not a loop over the names: each of 32 attacks asks
        left -= int(counts[number])
    return left


@contextmanager
def _placed(pointer: str) -> Iterator[None]:
    """The library's refusal of a policy as one of this request; `pointer`: where the policy stands in it."""
    try:
        yield
    except OptionsRejected as error:
        refusal = as_invalid(error)
        if not (where := refusal.pointer or "").startswith(("/audit", "/recipe")):
            refusal.pointer = (
                pointer if pointer == "/policy_name" else pointer + where.removeprefix("/policy")
            )
        raise refusal from error
