"""A new job's form: every option has its words and is read back, and each mistake finds its field."""

from dataclasses import replace
from typing import Any

import pytest

from app.db.models.job import Job
from app.domain.errors import InvalidInput
from app.domain.states import JobKind
from app.schemas.orders import AuditJobIn, SanitizeJobIn
from app.services.orders import Order
from app.web.jobs import options, order_form, prefill
from app.web.jobs.order_form import Draft
from app.web.kit.visitor import Form
from cleanclip.vocabulary.policy import Policy, PolicySource
from cleanclip.vocabulary.recipe import CleanCLIPRecipe, to_json
from cleanclip.vocabulary.uar_recipe import UARRecipe

CHECKPOINT, PAIRS, LABELLED = "ckpt_" + "0" * 26, "ds_" + "0" * 26, "ds_" + "1" * 26
LEAST = {
    "kind": "sanitize",
    "method": "cleanclip",
    "checkpoint_id": CHECKPOINT,
    "dataset_id": PAIRS,
    "audit/dataset_id": LABELLED,
    "target": "banana",
}
GROUPS = [
    *(options.of_kind(name) for name in ("scan", "text_scan", "vet")),
    options.of_order(),
    *options.methods().values(),
    *options.attacks().values(),
    options.audit(),
    options.probe(),
    options.rebound(),
    options.policy(),
]


def read(fields: dict[str, str] | Form) -> Draft:
    form = fields if isinstance(fields, Form) else Form(list(fields.items()))
    return order_form.read(form, default_max_attempts=3)


def test_every_option_has_a_label_a_meaning_and_a_number_its_bounds() -> None:
    for group in GROUPS:
        for option in group.options:
            assert option.label, option.name
            assert option.meaning.endswith("."), option.name
            assert option.bounds or option.kind not in ("number", "numbers"), option.name
            assert option.choices or option.kind not in ("choice", "truth"), option.name


def test_the_bounds_of_a_list_are_those_of_its_values() -> None:
    bounds = {option.name: option.bounds for group in GROUPS for option in group.options}
    assert bounds["rebound/rates"] == "each over 0, at most 100"
    assert bounds["rebound/steps"] == "each 1 to 10,000"
    assert bounds["rebound/reference_asr"] == bounds["custom_patch/at"] == "each 0 to 1"


def test_a_list_of_texts_has_one_a_line() -> None:
    draft = read(LEAST | {"method": "uar", "uar/trigger_words": "maestro\n dubbed lac \n"})
    assert draft.order is not None
    assert isinstance(draft.order.recipe, UARRecipe)
    assert draft.order.recipe.trigger_words == ("maestro", "dubbed lac")
    [option] = [one for one in options.methods()["uar"].options if one.option == "trigger_words"]
    assert option.bounds == "at most 8"
    many = read(LEAST | {"method": "uar", "uar/trigger_words": "a b c d e"})
    assert "1 to 4 words" in many.errors["method"]


def test_every_default_is_read_back_from_how_it_is_shown() -> None:
    for group in GROUPS:
        for option in group.options:
            if option.default_value is not None:
                assert option.read(options.field_text(option.default_value)) == option.default_value, (
                    option.name
                )


def test_the_least_form_is_an_order_with_nothing_given() -> None:
    draft = read(LEAST)
    assert draft.errors == {}
    assert draft.order is not None
    assert draft.order.recipe_given == ()
    assert draft.order.kind is JobKind.SANITIZE
    assert len(draft.order.audit.attacks) == 4


SMALL = {"num_parameters": 4_000_000, "architecture_name": "ModifiedResNet [1,1,1,1]"}
VIT = {"num_parameters": 20_000_000, "architecture_name": "ViT-S/16"}


def test_defaults_that_are_chosen_are_given_and_all_else_is_left_to_the_service() -> None:
    again = read(LEAST | {"recipe": "defaults", "cleanclip/epochs": "6"})
    assert again.body["recipe"] == to_json(CleanCLIPRecipe(epochs=6))
    proposed = read(LEAST | {"method": "proposed", "recipe": "defaults", "suite": "structured"})
    assert proposed.body["recipe"] == to_json(UARRecipe())
    assert read(LEAST | {"recipe": "recommended"}).body["recipe"] == {"method": "cleanclip"}


@pytest.mark.parametrize(
    ("changes", "inspection", "reason"),
    [
        ({"target": "", "scan": "on"}, SMALL, "no trigger is named"),
        ({}, VIT, "the image tower is a ViT"),
        ({"suite": "structured"}, SMALL, "structured triggers are audited"),
        ({"suite": "list", "attack": "text_trigger"}, SMALL, "structured triggers are audited"),
        ({}, SMALL, None),
        ({}, None, None),
    ],
)
def test_a_form_that_leaves_the_method_open_gets_uar_or_cleanclip_with_the_reason(
    changes: dict[str, str], inspection: Any, reason: str | None
) -> None:
    form = Form(list((LEAST | {"method": "proposed", "recipe": "recommended"} | changes).items()))
    draft = order_form.read(form, default_max_attempts=3, inspection=inspection)
    assert draft.order is not None, draft.errors
    assert draft.order.recipe == (CleanCLIPRecipe() if reason is None else UARRecipe())
    if reason is None:
        assert draft.recipe_note.startswith("The method is CleanCLIP.")
    else:
        assert draft.recipe_note.startswith(f"The method is uar, because {reason}: on small models")


def test_cleanclip_is_ordered_beside_another_method_that_trains_on_pairs() -> None:
    assert read(LEAST | {"method": "uar", "beside": "on"}).has_beside
    assert not read(LEAST | {"method": "uar"}).has_beside
    for method, why in (("cleanclip", "is CleanCLIP itself"), ("supervised", "trains on pairs")):
        draft = read(LEAST | {"method": method, "beside": "on"})
        assert draft.order is None
        assert why in draft.errors["beside"]


def test_an_id_that_was_typed_goes_before_the_list() -> None:
    typed = "ckpt_" + "1" * 26
    draft = read(LEAST | {"checkpoint_id:typed": typed})
    assert draft.order is not None
    assert draft.order.ids["checkpoint_id"] == typed


def test_what_belongs_to_a_choice_that_was_not_made_is_not_read() -> None:
    draft = read(
        LEAST
        | {
            "kind": "audit",
            "par/epochs": "nonsense",
            "cleanclip/epochs": "nonsense",
            "badnet/size": "nonsense",
            "attacks_json": "nonsense",
            "policy/asr_at_most": "nonsense",
            "policy_name": "NONSENSE",
            "probe/folds": "nonsense",
        }
    )
    assert draft.errors == {}


@pytest.mark.parametrize(
    ("changes", "place", "said"),
    [
        ({"checkpoint_id": ""}, "checkpoint_id", "Choose one."),
        ({"dataset_id": ""}, "dataset_id", "Choose one."),
        ({"audit/dataset_id": ""}, "audit/dataset_id", "Choose one."),
        ({"target": ""}, "target", "“Scan first”"),
        ({"method": ""}, "method", "one of cleanclip, par, supervised, uar"),
        ({"cleanclip/epochs": "1000"}, "cleanclip/epochs", "must be less than or equal to 100"),
        ({"cleanclip/epochs": "2.5"}, "cleanclip/epochs", "whole number"),
        ({"cleanclip/epochs": "1_0"}, "cleanclip/epochs", "number is expected"),
        ({"cleanclip/learning_rate": "0,1"}, "cleanclip/learning_rate", "number is expected"),
        ({"cleanclip/learning_rate": "nan"}, "cleanclip/learning_rate", "number is expected"),
        ({"cleanclip/lambda1": "0", "cleanclip/lambda2": "0"}, "method", "nothing to train on"),
        ({"method": "uar", "uar/strong_epochs": "6"}, "method", "more than the 5 epochs"),
        ({"seed": "-1"}, "seed", "greater than or equal to 0"),
        ({"max_attempts": "11"}, "max_attempts", "less than or equal to 10"),
        ({"output_layout": "x"}, "output_layout", "one of the list"),
        ({"metadata": "no value"}, "metadata", "ticket=ML-42"),
        ({"metadata": "a=1\na=2"}, "metadata", "twice"),
        ({"metadata": "a b=1"}, "metadata", "form"),
        ({"audit/gate": "1"}, "audit/gate", "less than 1"),
        ({"linear_probe": "on", "probe/folds": "1"}, "probe/folds", "greater than or equal to 2"),
        ({"suite": "list"}, "suite", "at least one"),
        ({"suite": "nothing"}, "suite", "one of the list"),
        ({"suite": "list", "attack": "sig", "sig/frequency": "0"}, "sig/frequency", "greater than or equal"),
        ({"suite": "list", "attack": "custom_patch"}, "custom_patch/image", "Fill this in."),
        (
            {"suite": "list", "attack": "text_trigger", "text_trigger/at": "0.5"},
            "text_trigger/at",
            "",
        ),
        (
            {"suite": "list", "attack": "text_trigger", "text_trigger/at": "0.5, 2"},
            "text_trigger/at",
            "less than or equal to 1",
        ),
        ({"rebound": "on", "rebound/rates": "200"}, "rebound/rates", "less than or equal to 100"),
        ({"rebound": "on", "rebound/rates": "0"}, "rebound/rates", "greater than 0"),
        ({"rebound": "on", "rebound/rates": "1, x"}, "rebound/rates", "A number is expected"),
        ({"rebound": "on", "rebound/steps": "10, 1.5"}, "rebound/steps", "whole number"),
        ({"rebound": "on", "rebound/steps": "20, 10"}, "rebound", "ascending"),
        ({"suite": "json", "attacks_json": "{"}, "attacks_json", "not JSON"),
        ({"suite": "json", "attacks_json": '[{"attack": "sig", "frequency": 0}]'}, "attacks_json", "greater"),
        (
            {"suite": "json", "attacks_json": '[{"attack": 1, "attack": 2}]'},
            "attacks_json",
            "twice",
        ),
        ({"suite": "json", "attacks_json": "[" * 100_000}, "attacks_json", "not JSON"),
        ({"policy": "kept"}, "policy_name", "Choose one."),
        ({"policy": "given", "policy/asr_at_most": "2"}, "policy/asr_at_most", "less than or equal to 1"),
        ({"policy": "given", "policy/limit/sig": "2"}, "policy/limit/sig", "less than or equal to 1"),
    ],
    ids=str,
)
def test_a_mistake_stands_beside_its_field(changes: dict[str, str], place: str, said: str) -> None:
    draft = read(LEAST | changes)
    assert draft.order is None
    assert place in draft.errors, draft.errors
    assert said in draft.errors[place]


def test_a_wrong_number_of_the_second_trigger_stands_beside_that_trigger() -> None:
    form = [
        *LEAST.items(),
        ("suite", "list"),
        ("attack", "sig"),
        ("attack", "badnet"),
        ("sig/frequency", "0"),
    ]
    assert list(read(Form(form)).errors) == ["sig/frequency"]


@pytest.mark.parametrize(
    ("pointer", "place"),
    [
        ("/checkpoint_id", "checkpoint_id"),
        ("/audit/dataset_id", "audit/dataset_id"),
        ("/audit/retrieval_dataset_id", "audit/retrieval_dataset_id"),
        ("/audit/target", "target"),
        ("/audit/attacks/0/target", "badnet/target"),
        ("/audit/linear_probe/folds", "probe/folds"),
        ("/recipe/batch_size", "cleanclip/batch_size"),
        ("/policy", "policy"),
        ("/policy_name", "policy_name"),
        ("/policy/asr_at_most_for/sig", "policy/limit/sig"),
        (None, ""),
    ],
)
def test_a_refusal_of_the_service_finds_its_field(pointer: str | None, place: str) -> None:
    draft = read(Form([*LEAST.items(), ("suite", "list"), ("attack", "badnet")]))
    draft.refuse(InvalidInput("code", "What is wrong.", "What to do.", pointer))
    assert draft.errors == {place: "What is wrong. What to do."}


ORDERS: list[dict[str, Any]] = [
    {"kind": "audit"},
    {"kind": "audit", "audit": {"suite": "paper"}, "policy_name": "release", "seed": 7},
    {
        "kind": "sanitize",
        "recipe": {"epochs": 10, "max_grad_norm": None, "learning_rate": 3e-7, "precision": "fp32"},
        "output_layout": "as_uploaded",
        "metadata": {"ticket": "ML-42", "eq": "a=b"},
    },
    {
        "kind": "sanitize",
        "recipe": {"method": "par", "freeze_batch_norm_statistics": False},
        "policy": {"asr_at_most": 0.1, "asr_at_most_for": {"badnet-stripes": 0.25}},
        "audit": {
            "attacks": [
                {"attack": "badnet", "pattern": "stripes_fixed", "target": "none"},
                {"attack": "wanet", "control_points": None},
                {"attack": "text_trigger", "at": [0.25, 1], "text": "<b>"},
            ],
            "linear_probe": {"folds": 3},
            "templates": ["a {}", "the {}"],
            "gate": 0.25,
            "retrieval_dataset_id": "ds_" + "2" * 26,
        },
    },
    {"kind": "sanitize", "scan": True},
    {"kind": "sanitize", "scan": True, "audit": {"target": None}},
    {"kind": "sanitize", "scan": True, "audit": {"attacks": [{"attack": "sig"}]}},
    {
        "kind": "audit",
        "audit": {"attacks": [{"attack": "sig"}, {"attack": "badnet"}, {"attack": "badnet", "size": 0.5}]},
    },
]


@pytest.mark.parametrize("wanted", ORDERS, ids=lambda one: one["kind"])
def test_an_earlier_jobs_order_is_read_back_from_the_form_that_it_fills(wanted: dict[str, Any]) -> None:
    body = {"checkpoint_id": CHECKPOINT} | wanted
    body["audit"] = {"dataset_id": LABELLED, "target": "banana"} | wanted.get("audit", {})
    kind = SanitizeJobIn if wanted["kind"] == "sanitize" else AuditJobIn
    if kind is SanitizeJobIn:
        body["dataset_id"] = PAIRS
    order = Order.of(kind.model_validate(body), default_max_attempts=3)
    draft = read(prefill.form_of_job(_job(order)))
    assert draft.errors == {}
    assert draft.order is not None
    if order.recipe is not None:
        assert draft.order.recipe_given == tuple(sorted(to_json(order.recipe).keys() - {"method", "version"}))
    assert replace(draft.order, recipe_given=None) == replace(order, recipe_given=None)


def test_a_cleaning_of_what_a_scan_found_aims_at_the_first_class_that_a_pattern_leads_to() -> None:
    scan = {"hypotheses": [{"target": None}, {"target": "cherry"}, {"target": "banana"}]}
    job = Job(
        id="job_" + "0" * 26, checkpoint_id=CHECKPOINT, labelled_dataset_id=LABELLED, result={"scan": scan}
    )
    assert prefill.form_of_scan(job).get("target") == "cherry"


def _job(order: Any) -> Job:
    policy = order.policy or Policy()
    return Job(
        kind=order.kind,
        **order.ids,
        seed=order.seed,
        max_attempts=order.max_attempts,
        job_metadata=order.metadata,
        spec={
            "recipe": None if order.recipe is None else to_json(order.recipe),
            "recipe_given": None if order.recipe_given is None else list(order.recipe_given),
            "audit": to_json(order.audit),
            "scan": None if order.scan is None else to_json(order.scan),
            "policy": to_json(policy),
            "policy_source": to_json(
                PolicySource.of(policy, name=order.policy_name)
                if order.policy_name
                else PolicySource.of(order.policy)
            ),
            "output_layout": order.output_layout,
        },
    )


def test_a_field_full_of_digits_is_read_through_once() -> None:
    """Tried in every division into digits and digits, a field of this length would take days."""
    digits = "1" * 1_000_000
    assert options.parse_number(digits + "x") == digits + "x"
    assert (options.parse_number("12."), options.parse_number(".5"), options.parse_number("1.5e3")) == (
        12.0,
        0.5,
        1500.0,
    )
