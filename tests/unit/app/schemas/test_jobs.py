"""What comes in as a job leaves as the library's own options, and what is listed can be ordered."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from app.schemas.common import StoredProblem
from app.schemas.jobs import AuditJobIn, JobIn, SanitizeJobIn
from app.schemas.methods import KNOWN_TAGS, MethodsOut
from sanitizer.recipe import AuditOptions, CleanCLIPRecipe, Policy, parse

JOB_IN: TypeAdapter[Any] = TypeAdapter(JobIn)
ZEROS = "0" * 26
ORDER = {
    "kind": "sanitize",
    "checkpoint_id": f"ckpt_{ZEROS}",
    "dataset_id": f"ds_{ZEROS}",
    "audit": {"dataset_id": f"ds_{ZEROS}", "target": "banana", "gate": 0.25},
}


def test_the_audit_of_an_order_is_the_librarys_options_and_nothing_more() -> None:
    order = JOB_IN.validate_python(ORDER)
    assert isinstance(order, SanitizeJobIn)
    options = order.audit.options()
    assert type(options) is AuditOptions
    assert options == AuditOptions(target="banana", gate=0.25)
    assert order.recipe == CleanCLIPRecipe()
    assert order.policy == Policy()


def test_kinds_are_told_apart() -> None:
    audit = {name: value for name, value in ORDER.items() if name != "dataset_id"} | {"kind": "audit"}
    assert isinstance(JOB_IN.validate_python(audit), AuditJobIn)
    with pytest.raises(ValidationError):
        JOB_IN.validate_python(audit | {"recipe": {}})


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), 1e400])
def test_numbers_that_are_none_are_refused_everywhere(number: float) -> None:
    for change in (
        {"recipe": {"learning_rate": number}},
        {"policy": {"asr_at_most": number}},
        {"seed": number},
    ):
        with pytest.raises(ValidationError):
            JOB_IN.validate_python(ORDER | change)


def test_every_listed_method_and_attack_can_be_ordered_with_its_defaults() -> None:
    known = MethodsOut.known()
    for method in known.methods:
        JOB_IN.validate_python(ORDER | {"recipe": method.defaults})
    attacks = [attack.defaults for attack in known.attacks]
    order = JOB_IN.validate_python(ORDER | {"audit": ORDER["audit"] | {"attacks": attacks}})  # type: ignore[operator]
    assert len(order.audit.attacks) == 5
    assert parse(AuditOptions, known.audit.defaults | {"target": "x"}) == AuditOptions(target="x")
    names = {option.name for option in (*known.methods, *known.attacks)}
    assert names | {"sanitize", "audit"} == KNOWN_TAGS


def test_no_tag_is_the_name_of_a_field_that_stands_where_the_tag_stands() -> None:
    for described in (*MethodsOut.known().methods, *MethodsOut.known().attacks):
        assert described.name not in described.options["properties"]


def test_a_stored_error_shows_its_sentences_and_not_its_logs() -> None:
    stored = {
        "code": "worker_lost",
        "message": "Lost.",
        "remedy": "Retry.",
        "retryable": True,
        "log_tail": "secret",
    }
    problem = StoredProblem.of(stored)
    assert problem is not None
    assert (problem.code, problem.detail, problem.remedy, problem.retryable) == (
        "worker_lost",
        "Lost.",
        "Retry.",
        True,
    )
    assert "secret" not in problem.model_dump_json()
    assert StoredProblem.of(None) is None
