"""A real worker with an operator's key, and one without: what they publish is checked offline."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("model_signing", reason="what signs is in the worker's environment only")

from app.domain.states import JobState
from app.queue.publisher import BrokerPublisher
from app.schemas.jobs import ResultOut
from app.storage.s3 import S3Store
from cleanclip.evidence import public_keys
from cleanclip.evidence.verification import Verification, verify
from tests.end_to_end.worker_processes import Processes
from tests.integration.worker.world import World, opened_world, wait_until
from worker.signing_keys import PUBLIC_NAME, new_key

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def world(database_url: str, object_store: S3Store, tmp_path: Path) -> Iterator[World]:
    with opened_world(database_url, object_store, tmp_path) as world:
        yield world


def downloaded(world: World, job_id: str, folder: Path) -> Path:
    folder.mkdir()
    for name, content in world.artifacts(job_id).items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("has_key", [True, pytest.param(False, marks=pytest.mark.full)])
def test_what_a_worker_publishes_holds_and_says_whether_it_is_signed(
    world: World, service_environment: dict[str, str], broker_url: str, tmp_path: Path, has_key: bool
) -> None:
    path, key_id = new_key(tmp_path / "operator", b"words")
    secrets = {"CLEANCLIP_SIGNING__KEY_FILE": str(path), "CLEANCLIP_SIGNING__KEY_PASSWORD": "words"}
    processes = Processes(service_environment | (secrets if has_key else {}), tmp_path)
    publisher = BrokerPublisher(broker_url)
    try:
        processes.worker("worker", "work")
        jobs = [world.sanitize_job(), world.audit_job()]
        for job in jobs:
            publisher.job_ready(job.id, job.kind)
        for job in jobs:
            wait_until(lambda job=job: world.job(job.id).state is JobState.SUCCEEDED, 120)
        log = processes.log("worker")
    finally:
        processes.stop()
        publisher.close()
    trusted = [public_keys.load(tmp_path / "operator" / PUBLIC_NAME)] if has_key else []
    original = tmp_path / "original.pt"
    original.write_bytes(b"CLIP weights")
    for job in jobs:
        found = verify(downloaded(world, job.id, tmp_path / job.id), keys=trusted, input_file=original)
        assert [str(one) for one in found.findings] == []
        check_what_is_said(world, job.id, found, key_id if has_key else None)
    ready = next(json.loads(line) for line in log.splitlines() if '"worker_ready"' in line)
    assert ready["signing_key_sha256"] == (key_id if has_key else None)
    assert "words" not in log


def check_what_is_said(world: World, job_id: str, found: Verification, key_id: str | None) -> None:
    """The folder, the statement in it and the job's row say the same."""
    row = world.job(job_id)
    said = ResultOut.model_validate(row.result).signature
    expected = ("signed", key_id) if key_id else ("unsigned", None)
    assert (found.signature, found.key_sha256) == expected
    assert (said.state, said.key_sha256) == expected
    assert found.statement is not None
    facts = found.statement.predicate.observed
    assert (facts.job.id, facts.job.attempt, facts.signing_key_sha256) == (job_id, row.attempt, key_id)
    assert (facts.checkpoint.filename, found.input) == ("clip.pt", True)
    assert facts.job.started_at is not None
    assert row.started_at is not None
    assert facts.job.started_at[:19] == row.started_at.isoformat()[:19], (
        "the database's clock, not the worker's"
    )
    assert said.statement_sha256 is not None
