"""Strangers on the running stack: what another tenant has cannot be ordered with, used or listed.

tests/integration/access tries every operation of the document, with every kind of key and id.
"""

import json
from typing import Any

import pytest

from cleanclip.models import Checkpoint, Job
from cleanclip.sync.client import Client
from tests.end_to_end.bad_inputs import Sent
from tests.end_to_end.live import PATIENCE_S, Live
from tests.end_to_end.subject import Subject
from tests.integration.api.service import refused

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


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
