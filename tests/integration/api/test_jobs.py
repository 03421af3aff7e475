"""Jobs over HTTP: what is accepted, what is refused and where, and each change that a caller may ask for."""

import copy
import json
from typing import Any

import httpx
import pytest

from app.domain.states import CheckpointState, DatasetKind, DatasetState, JobState
from app.schemas.jobs import JobOut
from tests.fixtures.tiny_png import RED_SQUARE
from tests.integration.api.service import REJECTION, Service, refused


def create(service: Service, **changes: Any) -> dict[str, Any]:
    answer = service.ours.http.post("/v1/jobs", json=service.sanitize_order(**changes))
    assert answer.status_code == 202, answer.text
    JobOut.model_validate_json(answer.content)
    job: dict[str, Any] = answer.json()
    return job


def test_a_sanitize_job_is_accepted_with_its_values_written_out(service: Service, api: httpx.Client) -> None:
    order = service.sanitize_order(metadata={"ticket": "ML-42"}, seed=7)
    answer = api.post("/v1/jobs", json=order)
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert int(answer.headers["retry-after"]) >= 1
    assert (job["object"], job["kind"], job["state"], job["phase"]) == ("job", "sanitize", "queued", None)
    assert [phase["name"] for phase in job["phases"]] == [
        "stage",
        "baseline_audit",
        "finetune",
        "final_audit",
        "publish",
    ]
    assert job["recipe"]["method"] == "cleanclip"
    assert job["recipe"]["epochs"] == 4, "as recommended for a small ModifiedResNet"
    assert job["recipe_given"] == []
    assert job["audit"]["target"] == "banana"
    assert job["audit"]["dataset_id"] == order["audit"]["dataset_id"]
    assert [attack["attack"] for attack in job["audit"]["attacks"]] == ["badnet", "blended", "wanet", "sig"]
    assert job["policy"] == {
        "asr_at_most": 0.05,
        "asr_at_most_for": {},
        "ca_lost_at_most": 0.03,
        "rebound_asr_at_most": None,
        "controlled_at_most": 0.8,
    }
    assert (job["policy_source"]["given"], job["policy_source"]["name"]) == ("default", None)
    assert (job["seed"], job["metadata"], job["output_layout"]) == (7, {"ticket": "ML-42"}, "open_clip")
    assert (job["attempt"], job["max_attempts"]) == (0, service.ports.settings.jobs.max_attempts)
    assert job["error"] is None
    assert job["result"] is None
    assert service.publisher.sent[-1] == (job["id"], "sanitize")
    assert api.get(f"/v1/jobs/{job['id']}").json() == job
    events = api.get(f"/v1/jobs/{job['id']}/events").json()
    assert [(event["seq"], event["type"]) for event in events["data"]] == [(1, "created")]


def test_a_job_keeps_which_options_of_its_recipe_were_given(service: Service, api: httpx.Client) -> None:
    recipe = {"method": "par", "learning_rate": 3e-6, "epochs": 2}
    job = api.post("/v1/jobs", json=service.sanitize_order(recipe=recipe)).json()
    assert job["recipe_given"] == ["epochs", "learning_rate"], "also where it is the default"
    assert api.get(f"/v1/jobs/{job['id']}").json()["recipe_given"] == job["recipe_given"]


def test_a_method_alone_gets_the_recommended_values_and_dry_run_and_job_say_where_they_are_from(
    service: Service, api: httpx.Client
) -> None:
    order = service.sanitize_order(recipe={"method": "uar", "batch_size": 10})
    job = api.post("/v1/jobs", json=order).json()
    ahead = api.post("/v1/jobs/dry-run", json=order).json()
    for found in (job, ahead):
        recipe, source = found["recipe"], found["recipe_source"]
        assert (recipe["learning_rate"], recipe["consistency_weight"], recipe["batch_size"]) == (5e-4, 5, 10)
        assert source["given"] == ["batch_size"]
        assert {"learning_rate", "consistency_weight"} <= {*source["recommended"]}
        assert "measured; docs/uar.md" in source["recommended_from"]
    assert job["recipe_given"] == ["batch_size"]
    phases = {one["name"]: one for one in ahead["phases"]}
    assert phases["finetune"]["amount"] == recipe["epochs"] * 100, "of the recipe that it would take"


def test_a_recipe_is_an_object_and_no_name(service: Service, api: httpx.Client) -> None:
    order = service.sanitize_order(recipe="uar")
    refused(api.post("/v1/jobs", json=order), 422, "invalid_request", "/recipe")
    order["recipe"] = {"method": "uar", "trained_on": "labelled_images"}
    refused(api.post("/v1/jobs", json=order), 422, "dataset_wrong_kind", "/dataset_id")


def test_a_dry_run_by_images_alone_warns_of_captions_and_not_of_labels(
    service: Service, api: httpx.Client
) -> None:
    order = service.sanitize_order()
    order["dataset_id"] = service.dataset(DatasetKind.LABELLED, class_names=("n001", "n002", "n003"))
    warnings = {}
    for recipe in ({"method": "uar", "trained_on": "labelled_images"}, {"method": "supervised"}):
        order["recipe"] = recipe
        warnings[recipe["method"]] = "\n".join(api.post("/v1/jobs/dry-run", json=order).json()["warnings"])
    assert "Captions are not used" in warnings["uar"]
    assert "No class of the audit" not in warnings["uar"], "it reads no label"
    assert "No class of the audit" in warnings["supervised"]


def test_an_audit_job_has_no_recipe_and_takes_no_pairs(service: Service, api: httpx.Client) -> None:
    order = service.sanitize_order(kind="audit")
    refused(api.post("/v1/jobs", json=order), 422, "invalid_request", "/dataset_id")
    del order["dataset_id"]
    job = api.post("/v1/jobs", json=order).json()
    assert (job["kind"], job["recipe"], job["dataset_id"]) == ("audit", None, None)
    assert job["recipe_given"] is None
    assert [phase["name"] for phase in job["phases"]] == ["stage", "baseline_audit", "publish"]


def test_a_customers_own_trigger_is_stored_as_it_was_sent(service: Service, api: httpx.Client) -> None:
    patch = {"attack": "custom_patch", "image": RED_SQUARE, "placement": "centre"}
    order = service.sanitize_order()
    order["audit"]["attacks"] = [patch, {"attack": "custom_pattern", "image": RED_SQUARE}]
    job = api.post("/v1/jobs", json=order).json()
    first, second = job["audit"]["attacks"]
    assert {name: first[name] for name in patch} == patch
    assert (first["size"], first["at"], second["alpha"]) == (16 / 224, None, 0.2)
    assert api.get(f"/v1/jobs/{job['id']}").json()["audit"] == job["audit"]


def test_a_suite_is_stored_as_its_list(service: Service, api: httpx.Client) -> None:
    order = service.sanitize_order()
    order["audit"]["suite"] = "structured"
    job = api.post("/v1/jobs", json=order).json()
    assert len(job["audit"]["attacks"]) == 4
    assert "suite" not in job["audit"]
    order["audit"]["attacks"] = [{"attack": "sig"}]
    refused(api.post("/v1/jobs", json=order), 422, "invalid_request", "/audit")


@pytest.mark.parametrize("text", ["no base64!", "AAAA" * 21_847])
def test_a_picture_in_no_shape_is_refused_and_not_repeated(
    service: Service, api: httpx.Client, text: str
) -> None:
    order = service.sanitize_order()
    order["audit"]["attacks"] = [{"attack": "custom_patch", "image": text}]
    answer = api.post("/v1/jobs", json=order)
    refused(answer, 422, "invalid_request", "/audit/attacks/0/image")
    assert text not in answer.text


def test_a_job_is_accepted_while_the_broker_is_down(service: Service, api: httpx.Client) -> None:
    service.publisher.is_down = True
    try:
        answer = api.post("/v1/jobs", json=service.sanitize_order())
    finally:
        service.publisher.is_down = False
    assert answer.status_code == 202
    with service.database.unit_of_work() as unit:
        waiting = [message.payload["job_id"] for message in unit.outbox.pending(1000)]
    assert answer.json()["id"] in waiting


def changed(order: dict[str, Any], pointer: str, value: Any) -> dict[str, Any]:
    order = copy.deepcopy(order)
    *path, last = pointer.strip("/").split("/")
    place: Any = order
    for step in path:
        place = place[int(step)] if isinstance(place, list) else place.setdefault(step, {})
    place[last] = value
    return order


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/recipe/lambda1", -0.1),
        ("/recipe/lambda2", 101),
        ("/recipe/lambda1", "NaN"),
        ("/recipe/learning_rate", 0),
        ("/recipe/learning_rate", 1.5),
        ("/recipe/learning_rate", "fast"),
        ("/recipe/epochs", 0),
        ("/recipe/epochs", 101),
        ("/recipe/epochs", 1.5),
        ("/recipe/batch_size", 1),
        ("/recipe/max_grad_norm", 0),
        ("/recipe/warmup_steps", -1),
        ("/recipe/method", "magic"),
        ("/recipe/momentum", 0.9),
        ("/recipe/threshold", 2.0),
        ("/audit/target", ""),
        ("/audit/target", "x" * 201),
        ("/audit/gate", 1),
        ("/audit/attacks", []),
        ("/audit/colour", "red"),
        ("/audit/dataset_id", "job_00000000000000000000000000"),
        ("/audit/examples", -1),
        ("/audit/examples", 13),
        ("/audit/max_retrieval_pairs", 1),
        ("/audit/max_retrieval_pairs", 20_001),
        ("/policy/asr_at_most", 1.01),
        ("/policy/mercy", True),
        ("/seed", -1),
        ("/seed", 2**31),
        ("/output_layout", "tensorflow"),
        ("/max_attempts", 0),
        ("/max_attempts", 1000),
        ("/metadata", {"a": 1}),
        ("/priority", "high"),
        ("/checkpoint_id", "ckpt_"),
        ("/checkpoint_id", None),
    ],
)
def test_a_value_out_of_bounds_is_refused_with_its_pointer(
    service: Service, api: httpx.Client, pointer: str, value: Any
) -> None:
    order = changed(service.sanitize_order(), pointer, value)
    with service.nothing_left_behind():
        problem = refused(api.post("/v1/jobs", json=order), 422, "invalid_request")
    pointers = [error["pointer"] for error in problem["errors"]]
    expected = "/metadata/a" if pointer == "/metadata" else pointer
    assert pointers == [expected], pointers


@pytest.mark.parametrize("not_json", ["NaN", "Infinity", "1e999"])
def test_a_number_that_is_none_is_refused(service: Service, api: httpx.Client, not_json: str) -> None:
    order = service.sanitize_order(recipe={"learning_rate": 0.0003})
    body = json.dumps(order).replace('"learning_rate": 0.0003', f'"learning_rate": {not_json}')
    with service.nothing_left_behind():
        answer = api.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in {400, 422}
        refused(answer, answer.status_code, answer.json()["code"])


@pytest.mark.parametrize(
    ("attack", "pointer"),
    [
        ({"attack": "badnet", "size": 2}, "/audit/attacks/1/size"),
        ({"attack": "badnet", "colour": "red"}, "/audit/attacks/1/colour"),
        ({"attack": "sig", "amplitude": 0}, "/audit/attacks/1/amplitude"),
        ({"attack": "wanet", "control_points": 1}, "/audit/attacks/1/control_points"),
        ({"attack": "voodoo"}, "/audit/attacks/1/attack"),
        ({"size": 0.1}, "/audit/attacks/1/attack"),
        ("badnet", "/audit/attacks/1"),
    ],
)
def test_a_wrong_attack_is_refused_with_a_pointer_into_the_list(
    service: Service, api: httpx.Client, attack: Any, pointer: str
) -> None:
    order = service.sanitize_order()
    order["audit"]["attacks"] = [{"attack": "blended"}, attack]
    problem = refused(api.post("/v1/jobs", json=order), 422, "invalid_request", pointer)
    assert "voodoo" not in str(problem), "what came in is not echoed"


def test_both_lambdas_zero_leave_nothing_to_train_on(service: Service, api: httpx.Client) -> None:
    order = service.sanitize_order(recipe={"lambda1": 0, "lambda2": 0})
    with service.nothing_left_behind():
        problem = refused(api.post("/v1/jobs", json=order), 422, "invalid_request", "/recipe")
    assert problem["errors"][0]["detail"].startswith("lambda1 and lambda2 are both 0")
    order["recipe"] = {"lambda1": 0, "lambda2": 1}
    assert api.post("/v1/jobs", json=order).status_code == 202


@pytest.mark.parametrize("field", ["policy", "metadata", "audit"])
def test_a_field_that_is_called_like_a_method_keeps_its_pointer(
    service: Service, api: httpx.Client, field: str
) -> None:
    order = service.sanitize_order()
    order[field] = {**order.get(field, {}), "cleanclip": {}}
    refused(api.post("/v1/jobs", json=order), 422, "invalid_request", f"/{field}/cleanclip")


def test_another_method_is_ordered_by_its_name_and_takes_its_own_options_only(
    service: Service, api: httpx.Client
) -> None:
    order = service.sanitize_order(recipe={"method": "par", "threshold": 1.5})
    recipe = api.post("/v1/jobs", json=order).json()["recipe"]
    assert (recipe["method"], recipe["threshold"], recipe["learning_rate"]) == ("par", 1.5, 3e-4)
    assert "lambda1" not in recipe
    for option in ({"lambda1": 1}, {"threshold": 4.1}, {"noise_std": "0.2"}):
        order["recipe"] = {"method": "par", **option}
        refused(api.post("/v1/jobs", json=order), 422, "invalid_request", f"/recipe/{next(iter(option))}")


def test_a_supervised_job_takes_labelled_images_that_are_not_those_of_its_audit(
    service: Service, api: httpx.Client
) -> None:
    order = service.sanitize_order(recipe={"method": "supervised"})
    refused(api.post("/v1/jobs", json=order), 422, "dataset_wrong_kind", "/dataset_id")
    order["dataset_id"] = order["audit"]["dataset_id"]
    refused(api.post("/v1/jobs", json=order), 422, "trained_on_the_test", "/dataset_id")
    order["dataset_id"] = service.sanitize_order()["audit"]["dataset_id"]
    recipe = api.post("/v1/jobs", json=order).json()["recipe"]
    assert (recipe["method"], recipe["learning_rate"], recipe["warmup_steps"]) == ("supervised", 1e-3, 50)


def test_retrieval_is_measured_on_pairs_of_its_own(service: Service, api: httpx.Client) -> None:
    pointer = "/audit/retrieval_dataset_id"
    order = service.sanitize_order()
    assert api.post("/v1/jobs", json=order).json()["audit"]["retrieval_dataset_id"] is None

    def refused_with(dataset_id: str, status: int, code: str) -> None:
        order["audit"]["retrieval_dataset_id"] = dataset_id
        with service.nothing_left_behind():
            refused(api.post("/v1/jobs", json=order), status, code, pointer)

    refused_with(order["audit"]["dataset_id"], 422, "dataset_wrong_kind")
    refused_with(order["dataset_id"], 422, "trained_on_the_test")
    refused_with(service.dataset(DatasetKind.PAIRS, DatasetState.VALIDATING), 409, "dataset_not_ready")
    theirs = service.dataset(DatasetKind.PAIRS, project_id=service.theirs.project_id)
    refused_with(theirs, 404, "dataset_not_found")
    refused_with("job_00000000000000000000000000", 422, "invalid_request")
    mine = service.dataset(DatasetKind.PAIRS)
    order["audit"] |= {"retrieval_dataset_id": mine, "max_retrieval_pairs": 1000}
    for body in (order, {name: order[name] for name in ("checkpoint_id", "audit")} | {"kind": "audit"}):
        job = api.post("/v1/jobs", json=body).json()
        assert (job["audit"]["retrieval_dataset_id"], job["audit"]["max_retrieval_pairs"]) == (mine, 1000)
        assert api.get(f"/v1/jobs/{job['id']}").json()["audit"] == job["audit"]
    refused(api.delete(f"/v1/datasets/{mine}"), 409, "dataset_in_use")


def test_missing_fields_are_named_all_at_once(api: httpx.Client) -> None:
    problem = refused(api.post("/v1/jobs", json={"kind": "sanitize"}), 422, "invalid_request")
    assert {error["pointer"] for error in problem["errors"]} == {"/checkpoint_id", "/dataset_id", "/audit"}


def test_a_job_without_a_known_kind_is_refused(api: httpx.Client) -> None:
    refused(api.post("/v1/jobs", json={}), 422, "invalid_request", "/kind")
    problem = refused(api.post("/v1/jobs", json={"kind": "inspect"}), 422, "invalid_request", "/kind")
    assert "inspect" not in problem["errors"][0]["detail"]


@pytest.mark.parametrize("state", sorted(set(CheckpointState) - {CheckpointState.ACCEPTED}))
def test_a_checkpoint_that_is_not_accepted_gets_no_job(
    service: Service, api: httpx.Client, state: CheckpointState
) -> None:
    order = service.sanitize_order(checkpoint_id=service.checkpoint(state))
    with service.nothing_left_behind():
        refused(api.post("/v1/jobs", json=order), 409, "checkpoint_not_accepted", "/checkpoint_id")


def test_a_rejected_checkpoint_says_why(service: Service, api: httpx.Client) -> None:
    checkpoint = api.get(f"/v1/checkpoints/{service.checkpoint(CheckpointState.REJECTED)}").json()
    assert checkpoint["state"] == "rejected"
    assert checkpoint["error"]["code"] == REJECTION["code"]
    assert checkpoint["error"]["detail"] == REJECTION["message"]
    assert checkpoint["error"]["remedy"] == REJECTION["remedy"]


@pytest.mark.parametrize("state", [DatasetState.VALIDATING, DatasetState.REJECTED])
def test_a_data_set_that_is_not_ready_gets_no_job(
    service: Service, api: httpx.Client, state: DatasetState
) -> None:
    order = service.sanitize_order(dataset_id=service.dataset(DatasetKind.PAIRS, state))
    with service.nothing_left_behind():
        refused(api.post("/v1/jobs", json=order), 409, "dataset_not_ready", "/dataset_id")
    order = service.sanitize_order()
    order["audit"]["dataset_id"] = service.dataset(DatasetKind.LABELLED, state)
    refused(api.post("/v1/jobs", json=order), 409, "dataset_not_ready", "/audit/dataset_id")


def test_data_sets_of_the_wrong_kind_are_refused(service: Service, api: httpx.Client) -> None:
    order = service.sanitize_order(dataset_id=service.dataset(DatasetKind.LABELLED))
    problem = refused(api.post("/v1/jobs", json=order), 422, "dataset_wrong_kind", "/dataset_id")
    assert problem["remedy"].endswith("order uar with trained_on: labelled_images.")
    order = service.sanitize_order()
    order["audit"]["dataset_id"] = service.dataset(DatasetKind.PAIRS)
    refused(api.post("/v1/jobs", json=order), 422, "dataset_wrong_kind", "/audit/dataset_id")


def test_a_target_that_is_no_class_is_refused_with_near_names(service: Service, api: httpx.Client) -> None:
    order = service.sanitize_order()
    order["audit"]["target"] = "Bananna"
    with service.nothing_left_behind():
        problem = refused(api.post("/v1/jobs", json=order), 422, "unknown_target", "/audit/target")
    assert "'banana'" in problem["remedy"]
    order["audit"] |= {
        "target": "banana",
        "attacks": [{"attack": "sig"}, {"attack": "sig", "target": "bananna"}],
    }
    with service.nothing_left_behind():
        problem = refused(api.post("/v1/jobs", json=order), 422, "unknown_target", "/audit/attacks/1/target")
    assert "'banana'" in problem["remedy"]


def test_a_linear_probe_is_kept_with_its_defaults_and_refused_out_of_bounds(
    service: Service, api: httpx.Client
) -> None:
    order = service.sanitize_order()
    order["audit"]["linear_probe"] = {"folds": 1}
    refused(api.post("/v1/jobs", json=order), 422, "invalid_request", "/audit/linear_probe/folds")
    order["audit"]["linear_probe"] = {"folds": 3}
    job = api.post("/v1/jobs", json=order).json()
    assert job["audit"]["linear_probe"] == {"folds": 3, "c": 0.316, "max_iterations": 1000}


def test_a_deleted_checkpoint_is_not_found(service: Service, api: httpx.Client) -> None:
    order = service.sanitize_order()
    assert api.delete(f"/v1/checkpoints/{order['checkpoint_id']}").status_code == 202
    refused(api.get(f"/v1/checkpoints/{order['checkpoint_id']}"), 404, "checkpoint_not_found")
    refused(api.post("/v1/jobs", json=order), 404, "checkpoint_not_found", "/checkpoint_id")


def test_what_a_waiting_job_reads_cannot_be_deleted(service: Service, api: httpx.Client) -> None:
    job = create(service)
    with service.nothing_left_behind():
        refused(api.delete(f"/v1/checkpoints/{job['checkpoint_id']}"), 409, "checkpoint_in_use")
        refused(api.delete(f"/v1/datasets/{job['dataset_id']}"), 409, "dataset_in_use")
        refused(api.delete(f"/v1/datasets/{job['audit']['dataset_id']}"), 409, "dataset_in_use")
    api.post(f"/v1/jobs/{job['id']}/cancel")
    assert api.delete(f"/v1/checkpoints/{job['checkpoint_id']}").status_code == 202
    assert api.delete(f"/v1/datasets/{job['dataset_id']}").status_code == 202


def test_a_queued_job_is_cancelled_at_once_and_only_once(service: Service, api: httpx.Client) -> None:
    job = create(service)
    first = api.post(f"/v1/jobs/{job['id']}/cancel")
    assert (first.status_code, first.json()["state"]) == (202, "cancelled")
    assert first.json()["finished_at"] is not None
    second = api.post(f"/v1/jobs/{job['id']}/cancel")
    assert second.json() == first.json()
    events = api.get(f"/v1/jobs/{job['id']}/events").json()["data"]
    assert [event["type"] for event in events] == ["created", "cancelled"]
    refused(api.post(f"/v1/jobs/{job['id']}/resume"), 409, "job_state_conflict")


def test_a_running_job_is_first_cancelling(service: Service, api: httpx.Client) -> None:
    job = create(service)
    service.set_job(job["id"], JobState.RUNNING)
    assert api.post(f"/v1/jobs/{job['id']}/cancel").json()["state"] == "cancelling"


def test_pause_and_resume_of_a_queued_job(service: Service, api: httpx.Client) -> None:
    job = create(service)
    assert api.post(f"/v1/jobs/{job['id']}/pause").json()["state"] == "paused"
    sent = len(service.publisher.sent)
    assert api.post(f"/v1/jobs/{job['id']}/resume").json()["state"] == "queued"
    assert service.publisher.sent[sent:] == [(job["id"], "sanitize")], "a worker is told"


def test_a_running_job_shows_that_a_pause_was_asked_for(service: Service, api: httpx.Client) -> None:
    job = create(service)
    service.set_job(job["id"], JobState.RUNNING)
    paused = api.post(f"/v1/jobs/{job['id']}/pause").json()
    assert (paused["state"], paused["pause_requested"]) == ("running", True)


def test_only_a_failed_job_is_retried(service: Service, api: httpx.Client) -> None:
    job = create(service)
    with service.nothing_left_behind():
        refused(api.post(f"/v1/jobs/{job['id']}/retry"), 409, "job_state_conflict")
    service.set_job(job["id"], JobState.FAILED)
    assert api.post(f"/v1/jobs/{job['id']}/retry").json()["state"] == "queued"


@pytest.mark.parametrize("action", ["cancel", "pause", "resume", "retry"])
def test_a_succeeded_job_takes_no_more_orders(service: Service, api: httpx.Client, action: str) -> None:
    job = create(service)
    service.set_job(job["id"], JobState.SUCCEEDED)
    with service.nothing_left_behind():
        refused(api.post(f"/v1/jobs/{job['id']}/{action}"), 409, "job_state_conflict")


@pytest.mark.parametrize("path", ["job_" + "0" * 26, "job_1", "%00", "..", "job_" + "i" * 26, "x" * 3000])
def test_a_job_that_does_not_exist_is_not_found(api: httpx.Client, path: str) -> None:
    answer = api.get(f"/v1/jobs/{path}")
    if path == "..":
        assert answer.status_code == 404
    else:
        refused(answer, 404, "job_not_found")


def test_events_go_on_after_a_number(service: Service, api: httpx.Client) -> None:
    job = create(service)
    for action in ("pause", "resume", "pause", "resume"):
        api.post(f"/v1/jobs/{job['id']}/{action}")
    page = api.get(f"/v1/jobs/{job['id']}/events?limit=2").json()
    assert ([event["seq"] for event in page["data"]], page["has_more"]) == ([1, 2], True)
    rest = api.get(f"/v1/jobs/{job['id']}/events?after={page['last_seq']}").json()
    assert ([event["seq"] for event in rest["data"]], rest["has_more"]) == ([3, 4, 5], False)
    assert api.get(f"/v1/jobs/{job['id']}/events?after=5").json()["data"] == []
    refused(api.get(f"/v1/jobs/{job['id']}/events?after=-1"), 422, "invalid_request")
