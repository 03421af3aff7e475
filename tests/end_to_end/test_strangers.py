"""Strangers: without a key nothing is answered, and what another tenant has is simply not there.

Every operation of the published document is tried, with ids of things that exist.
"""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from app.services.api_keys import read_key
from client.client import Client
from client.models import Checkpoint, Job
from tests.end_to_end.bad_inputs import Sent
from tests.end_to_end.live import PATIENCE_S, Live
from tests.end_to_end.subject import Subject
from tests.integration.api.service import refused

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

OPEN_TO_ALL = {"/healthz", "/readyz", "/metrics"}


def operations(live: Live) -> list[tuple[str, str]]:
    paths = httpx.get(f"{live.url}/v1/openapi.json").json()["paths"]
    return [(method.upper(), path) for path, methods in paths.items() for method in methods]


def filled(path: str, ids: dict[str, str]) -> str:
    for noun, value in ids.items():
        path = path.replace(f"{{{noun}_id}}", value)
    assert "{" not in path, f"an id that this test does not know: {path}"
    return path


def ids_of(live: Live, client: Client, subject: Subject, job: Job) -> dict[str, str]:
    """One of everything that is ours."""
    return {
        "upload": subject.sent.id,
        "checkpoint": subject.checkpoint.id,
        "dataset": subject.pairs.id,
        "job": job.id,
        "artifact": client.jobs.artifacts(job.id)[0].id,
        "key": read_key(live.ours.key).key_id,
    }


def test_without_a_key_or_with_a_wrong_one_nothing_is_answered(
    live: Live, client: Client, subject: Subject, audited_job: Job
) -> None:
    ids = ids_of(live, client, subject, audited_job)
    wrong = live.ours.key[:-1] + ("a" if live.ours.key[-1] != "a" else "b")
    with live.nothing_left_behind(live.ours):
        for method, path in operations(live):
            if path in OPEN_TO_ALL:
                continue
            for headers, code in (({}, "key_missing"), ({"Authorization": f"Bearer {wrong}"}, "invalid_key")):
                refused(httpx.request(method, live.url + filled(path, ids), headers=headers), 401, code)


def test_another_tenants_ids_are_not_found_on_any_route(
    live: Live, client: Client, subject: Subject, audited_job: Job
) -> None:
    ids = ids_of(live, client, subject, audited_job)
    bodies: dict[str, Any] = {"/v1/uploads/{upload_id}/parts": {"numbers": [1]}}
    num_tried = 0
    with live.nothing_left_behind(live.ours):
        for method, path in operations(live):
            if "{" not in path:
                continue
            noun = path.partition("{")[2].partition("_id}")[0]
            theirs = live.careless.http.request(method, filled(path, ids), json=bodies.get(path))
            refused(theirs, 404, f"{noun}_not_found")
            num_tried += 1
    assert num_tried >= 19
    assert client.jobs.get(audited_job.id) == audited_job


def test_another_tenants_things_cannot_be_ordered_with(
    live: Live, careless: Client, subject: Subject, sent: Sent, good_again: Checkpoint
) -> None:
    theirs = careless.datasets.wait(sent.slightly_corrupt, timeout_s=PATIENCE_S)
    wanted: dict[str, Any] = json.loads(json.dumps(subject.order()))
    for changes, code, pointer in (
        ({}, "checkpoint_not_found", "/checkpoint_id"),
        ({"checkpoint_id": good_again.id}, "dataset_not_found", "/dataset_id"),
        (
            {"checkpoint_id": good_again.id, "dataset_id": theirs.id},
            "dataset_not_found",
            "/audit/dataset_id",
        ),
    ):
        with live.nothing_left_behind(live.ours):
            refused(live.careless.http.post("/v1/jobs", json=wanted | changes), 404, code, pointer)
    assert careless.jobs.list().data == ()


def test_another_tenants_upload_cannot_become_a_data_set(live: Live, subject: Subject) -> None:
    with live.nothing_left_behind(live.careless):
        answer = live.careless.http.post("/v1/datasets", json={"kind": "pairs", "upload_id": subject.sent.id})
        refused(answer, 404, "upload_not_found")


def test_lists_show_nothing_of_another_tenant(live: Live, subject: Subject, audited_job: Job) -> None:
    for path, mine in (
        ("checkpoints", subject.checkpoint.id),
        ("datasets", subject.pairs.id),
        ("jobs", audited_job.id),
    ):
        listed = {row["id"] for row in live.ours.http.get(f"/v1/{path}?limit=100").json()["data"]}
        theirs = {row["id"] for row in live.careless.http.get(f"/v1/{path}?limit=100").json()["data"]}
        assert mine in listed
        assert not listed & theirs
