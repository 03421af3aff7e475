"""What comes in as a job leaves as the library's own options, and what is listed can be ordered."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from app.schemas.common import StoredProblem
from app.schemas.methods import KNOWN_TAGS, MethodsOut
from app.schemas.orders import AuditJobIn, JobIn, SanitizeJobIn
from cleanclip.vocabulary.recipe import AuditOptions, CleanCLIPRecipe, parse, to_json
from cleanclip.vocabulary.scan_options import MIN_IMAGES, ScanOptions
from cleanclip.vocabulary.vet_options import VetOptions
from tests.fixtures.tiny_png import RED_SQUARE

JOB_IN: TypeAdapter[Any] = TypeAdapter(JobIn)
ZEROS = "0" * 26
NEEDED = {"custom_patch": {"image": RED_SQUARE}, "custom_pattern": {"image": RED_SQUARE}}
"""What has no default."""
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
    assert (order.policy, order.policy_name) == (None, None)


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
    attacks = [attack.defaults | NEEDED.get(attack.name, {}) for attack in known.attacks]
    order = JOB_IN.validate_python(ORDER | {"audit": ORDER["audit"] | {"attacks": attacks}})  # type: ignore[operator]
    assert len(order.audit.attacks) == 8
    for suite in known.suites:
        named = JOB_IN.validate_python(ORDER | {"audit": ORDER["audit"] | {"suite": suite.name}})  # type: ignore[operator]
        assert [to_json(attack) for attack in named.audit.options().attacks] == suite.attacks
    assert parse(AuditOptions, known.audit.defaults | {"target": "x"}) == AuditOptions(target="x")
    assert parse(ScanOptions, known.scan.defaults) == ScanOptions()
    assert known.scan.options["properties"]["num_images"]["minimum"] == MIN_IMAGES
    assert parse(VetOptions, known.vet.defaults) == VetOptions()
    names = {option.name for option in (*known.methods, *known.attacks)}
    assert names | {"sanitize", "audit", "scan", "text_scan", "vet"} == KNOWN_TAGS


def test_no_tag_is_the_name_of_a_field_that_stands_where_the_tag_stands() -> None:
    for described in (*MethodsOut.known().methods, *MethodsOut.known().attacks):
        assert described.name not in described.options["properties"]


def test_a_stored_error_shows_its_sentences_and_not_its_logs() -> None:
    stored = {
        "code": "worker_lost",
        "message": "Lost.",
        "remedy": "Retry.",
        "retryable": True,
        "said": "In my own words.",
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
    assert problem.said == "In my own words."
    assert "secret" not in problem.model_dump_json()
    assert StoredProblem.of(None) is None


def audited(**options: Any) -> AuditOptions:
    order = JOB_IN.validate_python(ORDER | {"audit": ORDER["audit"] | options})  # type: ignore[operator]
    found: AuditOptions = order.audit.options()
    return found


def test_a_suite_becomes_the_list_that_is_stored_and_repeated() -> None:
    options = audited(suite="structured")
    assert options == parse(AuditOptions, to_json(options))
    assert "suite" not in to_json(options)
    assert len(options.attacks) == 4
    assert audited() == AuditOptions(target="banana", gate=0.25)


@pytest.mark.parametrize("suite", ["paper", "structured"])
def test_a_suite_and_a_list_contradict_each_other(suite: str) -> None:
    with pytest.raises(ValidationError, match=f"suite '{suite}' and attacks are both given"):
        audited(suite=suite, attacks=[{"attack": "sig"}])


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"suite": "custom"}, ("suite",)),
        ({"attacks": []}, ("attacks",)),
        ({"attacks": [{"attack": "sig"}] * 33}, ("attacks",)),
        ({"attacks": [{"attack": "fog"}]}, ("attacks", 0)),
        ({"templates": []}, ("templates",)),
        ({"templates": [3]}, ("templates", 0)),
        ({"attacks": [{"attack": "custom_patch"}]}, ("attacks", 0, "custom_patch", "image")),
        *(
            ({"attacks": [{"attack": kind, "image": text}]}, ("attacks", 0, kind, "image"))
            for kind in ("custom_patch", "custom_pattern")
            for text in ("", "no base64!", "AAA", "AAAA\n", "A" * 87_388, 7)
        ),
        (
            {"attacks": [{"attack": "text_trigger", "colour": "red"}]},
            ("attacks", 0, "text_trigger", "colour"),
        ),
        *(
            ({"attacks": [{"attack": "text_trigger", "text": text}]}, ("attacks", 0, "text_trigger", "text"))
            for text in ("", "x" * 65, "漢字", "\u202eabc", "a\nb", 123)
        ),
        ({"attacks": [{"attack": "text_trigger", "at": [0, 2]}]}, ("attacks", 0, "text_trigger", "at", 1)),
    ],
)
def test_what_is_no_trigger_is_refused_once_and_with_its_place(options: Any, where: tuple[Any, ...]) -> None:
    order = ORDER | {"audit": ORDER["audit"] | options}  # type: ignore[operator]
    with pytest.raises(ValidationError) as refused:
        JOB_IN.validate_python(order)
    assert [error["loc"] for error in refused.value.errors()] == [("sanitize", "audit", *where)]


def test_a_jobs_pictures_have_a_limit_together() -> None:
    patch = {"attack": "custom_patch", "image": "AAAA" * 21_846}
    assert len(audited(attacks=[patch] * 2).attacks) == 2
    with pytest.raises(ValidationError, match="more than 128 KiB together"):
        audited(attacks=[patch] * 3)


def test_the_schema_of_an_audit_names_suites_and_bounds_of_pictures() -> None:
    schema = MethodsOut.known().audit.options
    assert "structured" in str(schema["properties"]["suite"])
    picture_schema = schema["$defs"]["CustomPatchOptions"]["properties"]["image"]
    assert picture_schema["maxLength"] == 87_384
    assert "pattern" in picture_schema
    assert schema["$defs"]["TextTriggerOptions"]["properties"]["text"]["pattern"] == "^[ -~]+$"
    attacks = schema["properties"]["attacks"]
    assert (attacks["minItems"], attacks["maxItems"]) == (1, 32)
