"""The API's examples are calls that were made: here, of a whole service, and held against those of the pages.

RECORD=1 in the environment writes them again. What differs from call to call is made alike first: ids, times,
digests, secrets, and numbers that depend on the machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cleanclip.spec.null_set import dump_null
from cleanclip.spec.scan_options import ScanOptions
from cleanclip.sync.client import Client
from demo.recipe import TARGET
from tests.docs.conftest import Served, write_place
from tests.docs.recording import Recorder, differences, shown
from tests.integration.worker.stand_in_child import a_null
from tools.reference import routes

pytestmark = [pytest.mark.full, pytest.mark.slow, pytest.mark.timeout(600)]

WITHOUT_EXAMPLE = {
    "GET /metrics": "its lines are in docs/how-to/operating/monitoring.md",
}


@pytest.fixture(scope="module")
def recorded(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("recorded")
    write_place(folder)
    with pytest.MonkeyPatch.context() as patch, Client(served.url, served.key) as client:
        patch.setenv("CLEANCLIP_CACHE_DIR", str(folder / "cache"))
        call = Recorder(served)
        make_calls(call, client, folder)
        nulls(call, served, folder)
        yield {name: call.calls[name] for name, _ in routes.operations() if name in call.calls}


def make_calls(call: Recorder, client: Client, folder: Path) -> None:
    operations(call)
    checkpoint_id = uploads(call, client, folder)
    pairs, labelled = datasets(call, client)
    job_id = jobs(call, client, checkpoint_id, pairs, labelled)
    artifacts(call, job_id)
    policies(call)
    webhooks(call)
    keys(call)
    deletions(call, client, job_id, checkpoint_id, labelled)


def operations(call: Recorder) -> None:
    call("GET /healthz", status=200)
    call("GET /readyz", status=200)
    call("GET /v1/usage", status=200)
    call("GET /v1/methods", status=200)


def nulls(call: Recorder, served: Served, folder: Path) -> None:
    path = folder / "null.json"
    path.write_bytes(
        dump_null(a_null(ScanOptions(), ("red zero", TARGET), images_sha256="1" * 64, name="small ResNets"))
    )
    command = [sys.executable, "-m", "app.cli", "add-null", str(path)]
    subprocess.run(command, env=os.environ | served.environment, check=True)
    found = call("GET /v1/nulls", status=200)["data"]
    call("GET /v1/nulls/{null_id}", status=200, ids={"null_id": found[0]["id"]})


def uploads(call: Recorder, client: Client, folder: Path) -> str:
    data = (folder / "clip.pt").read_bytes()
    order = {"filename": "clip.pt", "size_bytes": len(data), "purpose": "checkpoint"}
    made = call("POST /v1/uploads", status=201, json=order, headers={"Idempotency-Key": "clip-2026-11-26"})
    ids = {"upload_id": made["id"]}
    call("POST /v1/uploads/{upload_id}/parts", status=200, ids=ids, json={"numbers": [1]})
    call("PUT /v1/uploads/{upload_id}/content", status=200, ids=ids, content=data)
    call("GET /v1/uploads/{upload_id}", status=200, ids=ids)
    done = call("POST /v1/uploads/{upload_id}/complete", status=200, ids=ids, json={})
    other = client.uploads.create(filename="other.pt", size_bytes=10, purpose="checkpoint")
    call("POST /v1/uploads/{upload_id}/cancel", status=200, ids={"upload_id": other.id})
    call("DELETE /v1/uploads/{upload_id}", status=202, ids={"upload_id": other.id})
    checkpoint_id: str = done["checkpoint_id"]
    client.checkpoints.wait(checkpoint_id)
    call("GET /v1/checkpoints/{checkpoint_id}", status=200, ids={"checkpoint_id": checkpoint_id})
    call("GET /v1/checkpoints", status=200, params={"limit": 1})
    return checkpoint_id


def datasets(call: Recorder, client: Client) -> tuple[str, str]:
    found = []
    call("POST /v1/datasets/check", status=204, json={"uri": "s3://cleanclip-data/seed1/pairs/"})
    for kind in ("labelled", "pairs"):
        order = {"kind": kind, "uri": f"s3://cleanclip-data/seed1/{kind}/"}
        found.append(call("POST /v1/datasets", status=202, json=order)["id"])
    for dataset_id in found:
        client.datasets.wait(dataset_id)
    call("GET /v1/datasets/{dataset_id}", status=200, ids={"dataset_id": found[0]})
    call("GET /v1/datasets/{dataset_id}/samples", status=200, ids={"dataset_id": found[0]})
    call(
        "PATCH /v1/datasets/{dataset_id}",
        status=200,
        ids={"dataset_id": found[1]},
        json={"name": "clean pairs"},
    )
    call("GET /v1/datasets", status=200, params={"limit": 1})
    return found[1], found[0]


def jobs(call: Recorder, client: Client, checkpoint_id: str, pairs: str, labelled: str) -> str:
    order = {
        "kind": "sanitize",
        "checkpoint_id": checkpoint_id,
        "dataset_id": pairs,
        "audit": {"dataset_id": labelled, "target": TARGET, "attacks": [{"attack": "badnet"}]},
        "recipe": {"method": "cleanclip", "epochs": 2, "batch_size": 32},
        "seed": 1,
        "name": "Release 7",
        "metadata": {"ticket": "ML-42"},
    }
    call("POST /v1/jobs/dry-run", status=200, json=order)
    done = call("POST /v1/jobs", status=202, json=order)["id"]
    client.jobs.wait(done)
    ids = {"job_id": done}
    call("GET /v1/jobs/{job_id}", status=200, ids=ids)
    call("PATCH /v1/jobs/{job_id}", status=200, ids=ids, json={"name": "Release 7, after the hotfix"})
    call("GET /v1/jobs", status=200, params={"limit": 1, "state": "succeeded"})
    call("GET /v1/jobs/{job_id}/events", status=200, ids=ids, params={"limit": 1})
    stream = call("GET /v1/jobs/{job_id}/events/stream", status=200, ids=ids)
    call.calls["GET /v1/jobs/{job_id}/events/stream"]["answer"] = shown(stream.split("\n\n")[0] + "\n\n…")
    steered(call, client, order)
    return done


def steered(call: Recorder, client: Client, order: dict[str, Any]) -> None:
    """A job that waits behind another can be paused at once, goes on, and is cancelled."""
    order = {**order, "recipe": {"method": "cleanclip", "epochs": 100, "batch_size": 2}}
    first = client.jobs.create(**order)
    ids = {"job_id": client.jobs.create(**order).id}
    call("POST /v1/jobs/{job_id}/pause", status=202, ids=ids)
    call("POST /v1/jobs/{job_id}/resume", status=202, ids=ids)
    call("POST /v1/jobs/{job_id}/cancel", status=202, ids=ids)
    client.jobs.cancel(first.id)
    client.jobs.wait(first.id, check=False)
    call("POST /v1/jobs/{job_id}/retry", status=409, ids=ids)


def artifacts(call: Recorder, job_id: str) -> None:
    call("GET /v1/jobs/{job_id}/verdicts", status=200, ids={"job_id": job_id})
    found = call("GET /v1/jobs/{job_id}/artifacts", status=200, ids={"job_id": job_id})["data"]
    ids = {"artifact_id": found[0]["id"]}
    call("GET /v1/artifacts/{artifact_id}", status=200, ids=ids)
    call("GET /v1/artifacts/{artifact_id}/content", status=307, ids=ids)
    call("GET /v1/jobs/{job_id}/report", status=200, ids={"job_id": job_id})


def policies(call: Recorder) -> None:
    ids = {"policy_name": "documented"}
    limits = {"asr_at_most": 0.1, "asr_at_most_for": {"sig": 0.2}}
    call("PUT /v1/policies/{policy_name}", status=201, ids=ids, json=limits)
    call("GET /v1/policies/{policy_name}", status=200, ids=ids)
    call("GET /v1/policies", status=200, params={"limit": 1})
    call("DELETE /v1/policies/{policy_name}", status=204, ids=ids)


def webhooks(call: Recorder) -> None:
    hook = {"url": "https://example.org/hooks", "events": ["job.succeeded", "job.failed"]}
    ids = {"webhook_id": call("POST /v1/webhooks", status=201, json=hook)["id"]}
    call("GET /v1/webhooks/{webhook_id}", status=200, ids=ids)
    call("GET /v1/webhooks", status=200, params={"limit": 1})
    call("POST /v1/webhooks/{webhook_id}/rotate-secret", status=201, ids=ids, json={"overlap_s": 3600})
    delivery = call("POST /v1/webhooks/{webhook_id}/test", status=202, ids=ids)
    both = {**ids, "delivery_id": delivery["id"]}
    call("GET /v1/webhooks/{webhook_id}/deliveries", status=200, ids=ids, params={"state": "delivered"})
    call("GET /v1/webhooks/{webhook_id}/deliveries/{delivery_id}", status=200, ids=both)
    call("POST /v1/webhooks/{webhook_id}/deliveries/{delivery_id}/replay", status=202, ids=both)
    call("PATCH /v1/webhooks/{webhook_id}", status=200, ids=ids, json={"enabled": False})
    call("DELETE /v1/webhooks/{webhook_id}", status=204, ids=ids)


def keys(call: Recorder) -> None:
    order = {"name": "release pipeline", "scopes": ["read", "upload", "run"]}
    ids = {"key_id": call("POST /v1/keys", status=201, json=order)["id"]}
    call("GET /v1/keys/{key_id}", status=200, ids=ids)
    call("PATCH /v1/keys/{key_id}", status=200, ids=ids, json={"name": "release pipeline, EU"})
    call("GET /v1/keys", status=200, params={"limit": 1})
    rotated = call("POST /v1/keys/{key_id}/rotate", status=201, ids=ids, json={"overlap_s": 3600})
    call("POST /v1/keys/{key_id}/revoke", status=200, ids={"key_id": rotated["id"]})
    call("GET /v1/trail", status=200, params={"limit": 1, "action": "key.create"})


def deletions(call: Recorder, client: Client, job_id: str, checkpoint_id: str, labelled: str) -> None:
    for job in client.jobs.list(limit=100).data:
        if job.id != job_id and job.is_finished and job.checkpoint_id == checkpoint_id:
            client.jobs.delete(job.id)
    gone = call("DELETE /v1/jobs/{job_id}", status=202, ids={"job_id": job_id})
    call("DELETE /v1/checkpoints/{checkpoint_id}", status=202, ids={"checkpoint_id": checkpoint_id})
    call("DELETE /v1/datasets/{dataset_id}", status=202, ids={"dataset_id": labelled})
    call("GET /v1/deletions/{deletion_id}", status=200, ids={"deletion_id": gone["id"]})
    call("GET /v1/deletions", status=200, params={"limit": 1})


def test_each_route_has_a_call(recorded: dict[str, Any]) -> None:
    missing = {name for name, _ in routes.operations()} - recorded.keys()
    assert missing == WITHOUT_EXAMPLE.keys(), "make a call of it above"


def test_the_calls_of_the_pages_are_those_that_are_made(recorded: dict[str, Any]) -> None:
    if os.environ.get("RECORD"):
        text = json.dumps(recorded, indent=1, ensure_ascii=False) + "\n"
        routes.EXAMPLES.write_text(text, encoding="utf-8")
        pytest.skip("recorded; now: make format")
    kept = routes.examples()
    assert kept.keys() == recorded.keys()
    for name, told in recorded.items():
        found = list(differences(told, kept[name]))
        assert found == [], f"{name}: record again, with RECORD=1"


@pytest.mark.parametrize(
    ("made", "kept", "found"),
    [
        ({"a": 1}, {"a": 2.5}, []),
        ({"a": None}, {"a": "later"}, []),
        ({"a": "3 of 4 parts"}, {"a": "2 of 9 parts"}, []),
        ({"a": 1, "new": 1}, {"a": 1}, ["/new"]),
        ({"a": "open"}, {"a": "closed"}, ["/a: 'open' was 'closed'"]),
        ({"a": [{"b": "1"}]}, {"a": [{"c": 1}]}, ["/a/0/b", "/a/0/c"]),
        ({"result": {"a": "pass"}}, {"result": {"a": "fail"}}, []),
        ({"a": True}, {"a": 1}, ["/a: True is not of the kind of 1"]),
    ],
)
def test_another_form_is_found(made: Any, kept: Any, found: list[str]) -> None:
    assert sorted(differences(made, kept)) == found
