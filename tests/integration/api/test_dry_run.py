"""A dry run tells of everything at once, orders nothing, and is refused where an order names nothing."""

import json
import random
import time
from dataclasses import replace
from typing import Any

import httpx

from app.domain.states import DatasetKind, DatasetState
from app.services import api_keys
from cleanclip.vocabulary.model_cost import NO_PLAN
from tests.fixtures.model_configs import CONVNEXT, MODELS
from tests.integration.api.service import INSPECTION, Service, refused

_ARCHITECTURE: Any = INSPECTION["architecture"]


def test_a_dry_run_leaves_nothing_and_says_what_each_phase_would_do(
    service: Service, api: httpx.Client
) -> None:
    order = service.sanitize_order(recipe={"epochs": 3, "batch_size": 50, "learning_rate": 1e-4})
    with service.nothing_left_behind():
        answer = api.post("/v1/jobs/dry-run", json=order)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    phases = {one["name"]: one for one in found["phases"]}
    assert list(phases) == ["stage", "baseline_audit", "finetune", "final_audit", "publish"]
    assert (phases["baseline_audit"]["amount"], phases["final_audit"]["amount"]) == (500, 600)
    assert (phases["finetune"]["amount"], phases["finetune"]["unit"]) == (3 * 2 * 50, "samples")
    assert [one["time"] for one in found["phases"]] == [None] * 5, "there is no earlier job"
    assert found["time"] is None
    assert found["obstacles"] == []
    assert any("fewer than 500" in warning for warning in found["warnings"])


def become(service: Service, order: dict[str, Any], model: str | dict[str, Any]) -> None:
    """The order's checkpoint becomes a published model."""
    service.execute(
        "UPDATE checkpoints SET inspection = jsonb_set(inspection, '{architecture}', :of) WHERE id = :id",
        of=json.dumps(MODELS[model] if isinstance(model, str) else model),
        id=order["checkpoint_id"],
    )


def test_without_a_plan_a_warning_says_so(service: Service, api: httpx.Client) -> None:
    order = service.sanitize_order(recipe={"batch_size": 64})
    assert NO_PLAN not in api.post("/v1/jobs/dry-run", json=order).json()["warnings"]
    become(service, order, CONVNEXT)
    ahead = api.post("/v1/jobs/dry-run", json=order).json()
    assert (ahead["plan"], ahead["obstacles"]) == (None, [])
    assert NO_PLAN in ahead["warnings"]


def test_a_plan_says_what_a_gpu_needs_before_it_is_rented(service: Service, api: httpx.Client) -> None:
    order = service.sanitize_order(recipe={"batch_size": 64})
    become(service, order, "ViT-L/14")
    plan = api.post("/v1/jobs/dry-run", json=order).json()["plan"]
    memory = {one["phase"]: one for one in plan["memory"]}
    assert list(memory) == ["baseline_audit", "finetune", "final_audit"]
    finetune = memory["finetune"]
    assert finetune["parameters_bytes"] == 4 * 427_616_513
    assert finetune["training_bytes"] == 2 * finetune["parameters_bytes"], "the moments"
    assert (finetune["option"], finetune["at_once"]) == ("recipe.chunk_size", 64)
    assert list(finetune["largest"]) == ["16", "24", "40", "80"]
    most = finetune["largest"].values()
    assert [*most] == sorted(most)
    minutes = {(one["device"], one["num_devices"]): one for one in plan["minutes"]}
    assert {number for _, number in minutes} == {1, 8}
    assert all(0 < one["low"] < one["high"] for one in minutes.values())
    assert minutes["H100 (80 GB)", 8]["fits"]
    assert not minutes["L4 (24 GB)", 1]["fits"]
    assert plan["flop"] > 1e14
    assert plan["rests_on"].startswith("An estimate")


def test_an_order_that_the_workers_cannot_hold_is_refused_before_it_waits(
    service: Service, api: httpx.Client
) -> None:
    order = service.sanitize_order(recipe={"batch_size": 64})
    become(service, order, "ViT-L/14")
    assert api.post("/v1/jobs/dry-run", json=order).json()["obstacles"] == [], "the memory is not configured"
    state = service.app.state
    worker = state.ports.settings.worker.model_copy(update={"device_memory_bytes": 24 * 10**9})
    settings = state.ports.settings.model_copy(update={"worker": worker})
    state.ports = replace(ports := state.ports, settings=settings)
    try:
        obstacles = api.post("/v1/jobs/dry-run", json=order).json()["obstacles"]
        problem = refused(api.post("/v1/jobs", json=order), 422, "does_not_fit")
    finally:
        state.ports = ports
    assert {(one["code"], one["pointer"]) for one in obstacles} == {
        ("does_not_fit", "/recipe/chunk_size"),
        ("does_not_fit", "/audit/batch_size"),
    }
    assert "The largest recipe.chunk_size that fits is " in problem["remedy"]


def test_without_an_earlier_job_times_are_estimates_by_the_shipped_table(
    service: Service, api: httpx.Client
) -> None:
    order = service.sanitize_order(recipe={"epochs": 3, "batch_size": 50})
    become(service, order, "RN50")
    found = api.post("/v1/jobs/dry-run", json=order).json()
    times = {one["name"]: one["time"] for one in found["phases"]}
    assert times["stage"] is None
    assert times["publish"] is None
    for name in ("baseline_audit", "finetune", "final_audit"):
        assert 0 < times[name]["low_s"] < times[name]["high_s"]
        assert times[name]["num_jobs"] == 0
    assert found["time"]["num_jobs"] == 0


def test_everything_that_stands_in_the_way_is_told_with_its_pointer(
    service: Service, api: httpx.Client
) -> None:
    order = service.sanitize_order(
        dataset_id=service.dataset(DatasetKind.PAIRS, DatasetState.VALIDATING),
        policy={"asr_at_most_for": {"structured": 0.2}},
    )
    order["audit"] |= {"target": "bananna", "linear_probe": {"folds": 20}}
    service.execute(
        "UPDATE datasets SET summary = jsonb_set(summary, '{images_per_class}', '[90, 5, 5]') WHERE id = :id",
        id=order["audit"]["dataset_id"],
    )
    found = api.post("/v1/jobs/dry-run", json=order).json()
    assert {(one["code"], one["pointer"]) for one in found["obstacles"]} == {
        ("dataset_not_ready", "/dataset_id"),
        ("unknown_target", "/audit/target"),
        ("policy_limits_untried", "/policy/asr_at_most_for/structured"),
        ("too_few_for_probe", "/audit/linear_probe/folds"),
    }
    assert all(one["detail"] and one["remedy"] for one in found["obstacles"])


def test_too_small_data_is_told_before_it_is_ordered(service: Service, api: httpx.Client) -> None:
    order = service.sanitize_order(recipe={"batch_size": 128})
    [found] = api.post("/v1/jobs/dry-run", json=order).json()["obstacles"]
    assert (found["code"], found["pointer"]) == ("batch_larger_than_data", "/recipe/batch_size")


def test_what_an_audits_options_cost_is_told_before_it_is_ordered(
    service: Service, api: httpx.Client
) -> None:
    order = service.sanitize_order(policy={"asr_at_most": 0.6})
    order["audit"]["precision"] = "bf16"
    assert any("in bf16" in one for one in api.post("/v1/jobs/dry-run", json=order).json()["warnings"])
    alone = {name: order[name] for name in ("checkpoint_id", "audit", "policy")} | {"kind": "audit"}
    reported = api.post("/v1/jobs/dry-run", json=alone).json()["warnings"]
    assert len(reported) == 1 + 4, "bf16, and a limit for each of the usual attacks"
    assert "has no effect: it is not under the gate of 50 %" in reported[-1]


def test_labels_to_train_on_that_are_not_those_of_the_audit_are_told_before_it_is_ordered(
    service: Service, api: httpx.Client
) -> None:
    training = service.dataset(DatasetKind.LABELLED, class_names=("n001", "n002", "n003"))
    order = service.sanitize_order(dataset_id=training, recipe={"method": "supervised", "batch_size": 10})
    warnings = api.post("/v1/jobs/dry-run", json=order).json()["warnings"]
    assert any(one.startswith("No class of the audit is one of") for one in warnings)
    order["dataset_id"] = service.dataset(DatasetKind.LABELLED)
    warnings = api.post("/v1/jobs/dry-run", json=order).json()["warnings"]
    assert not any("of the audit" in one for one in warnings)


def test_attacks_of_one_trigger_are_one_pass(service: Service, api: httpx.Client) -> None:
    order = service.sanitize_order()
    order["audit"]["suite"] = "paper"
    found = api.post("/v1/jobs/dry-run", json=order).json()
    baseline = next(one for one in found["phases"] if one["name"] == "baseline_audit")
    assert baseline["amount"] == 500, "100 images without a trigger and with four: two of the five are one"
    assert any(one.startswith("badnet and label_consistent put the same") for one in found["warnings"])


def test_a_refusal_of_an_order_is_told_in_its_own_words(service: Service, api: httpx.Client) -> None:
    order = service.sanitize_order()
    order["audit"]["target"] = "nothing"
    [found] = api.post("/v1/jobs/dry-run", json=order).json()["obstacles"]
    problem = refused(api.post("/v1/jobs", json=order), 422, "unknown_target", "/audit/target")
    assert (found["detail"], found["remedy"]) == (problem["detail"], problem["remedy"])


def test_what_is_not_there_and_what_is_out_of_bounds_is_refused(service: Service, api: httpx.Client) -> None:
    theirs = service.checkpoint(project_id=service.theirs.project_id)
    body = service.sanitize_order(checkpoint_id=theirs)
    refused(api.post("/v1/jobs/dry-run", json=body), 404, "checkpoint_not_found", "/checkpoint_id")
    body = service.sanitize_order(recipe={"epochs": 1000})
    refused(api.post("/v1/jobs/dry-run", json=body), 422, "invalid_request", "/recipe/epochs")


def test_a_key_that_may_not_order_may_not_try(service: Service) -> None:
    with service.database.unit_of_work() as unit:
        _, key = api_keys.issue(unit, project_id=service.ours.project_id, name="reader", scopes=("read",))
    answer = httpx.post(
        f"{service.url}/v1/jobs/dry-run",
        json=service.sanitize_order(),
        headers={"Authorization": f"Bearer {key}"},
    )
    refused(answer, 403, "scope_missing")


def test_an_estimate_looks_at_the_newest_jobs_and_not_at_all_of_them(
    service: Service, api: httpx.Client
) -> None:
    """A project may have any number of jobs on models of another architecture: a dry run walked them all."""
    ids = [api.post("/v1/jobs", json=service.sanitize_order()).json()["id"] for _ in range(2)]
    service.execute("UPDATE jobs SET attempt = 1 WHERE id = ANY(:ids)", ids=ids)
    with service.database.unit_of_work() as unit:
        project_id, architecture = service.ours.project_id, _ARCHITECTURE
        found = [
            [job.id for job, *_ in unit.jobs.first_attempts(project_id, architecture, 2, among=among)]
            for among in (1, 2)
        ]
    assert found == [ids[:0:-1], ids[::-1]]


def test_class_names_made_to_be_compared_slowly_cost_a_dry_run_little(
    service: Service, api: httpx.Client
) -> None:
    """In processor time of all threads, those of the test included: it was 15 s for as many names."""
    letters = "abab" * 49
    shuffled = random.Random(0)
    names = tuple("".join(shuffled.sample(letters, len(letters))) for _ in range(5_000))
    order = service.sanitize_order()
    order["audit"] = {
        "dataset_id": service.dataset(DatasetKind.LABELLED, class_names=names),
        "target": letters[:-1] + "x",
    }
    started_s = time.process_time()
    found = api.post("/v1/jobs/dry-run", json=order).json()
    assert time.process_time() - started_s < 1
    assert "unknown_target" in {one["code"] for one in found["obstacles"]}


def test_a_siglip_is_cleaned_by_uar_without_captions_alone(service: Service, api: httpx.Client) -> None:
    order = service.sanitize_order(recipe={"method": "cleanclip", "batch_size": 50})
    service.execute(
        "UPDATE checkpoints SET inspection = "
        "jsonb_set(inspection, '{architecture,model_cfg,init_logit_bias}', '0.0') WHERE id = :id",
        id=order["checkpoint_id"],
    )
    found = api.post("/v1/jobs/dry-run", json=order).json()
    assert [(one["code"], one["pointer"]) for one in found["obstacles"]] == [
        ("sigmoid_model", "/recipe/method")
    ]
    problem = refused(api.post("/v1/jobs", json=order), 422, "sigmoid_model", "/recipe/method")
    assert "images_of_pairs" in problem["remedy"]
    order["recipe"] = {"method": "uar", "batch_size": 50, "trained_on": "images_of_pairs"}
    assert api.post("/v1/jobs/dry-run", json=order).json()["obstacles"] == []
    assert api.post("/v1/jobs", json=order).status_code == 202
