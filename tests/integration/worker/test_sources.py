"""A checkpoint that was named instead of sent, from its order to the accepted row: a local hub, the store."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.db.models.assets import Checkpoint
from app.db.models.job import Job
from app.domain.sources import parse_source
from app.domain.states import CheckpointState, JobState
from app.schemas.checkpoints import SourceOut
from app.services import sources
from app.services.api_keys import Caller
from app.settings import DatasetSettings, Settings, SourceSettings
from app.storage.s3 import S3Store
from cleanclip.vocabulary.recipe import DeclaredOptions
from tests.fakes.hub import Hub, endless, redirects_to, send
from tests.fixtures.checkpoints import DECLARED, RESNET_CONFIG, write_open_clip_safetensors
from tests.integration.worker.world import World
from worker.confinement import sandbox
from worker.ledger import Ledger
from worker.staging.transfer import settle_uploads

REPO = "openai/clip-tiny"
WEIGHTS = b"CLIP" + bytes(range(256)) * 4
OTHERS = b"CLIP" + bytes(range(255, -1, -1)) * 4
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
MOST = 1_000_000


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        hub.add(REPO, {"model.safetensors": WEIGHTS})
        yield hub


def allowed(hub: Hub) -> SourceSettings:
    return SourceSettings(
        hub_url=hub.url, allowed_hosts=("127.0.0.1", "localhost"), allow_loopback=True, timeout_s=20
    )


def ordered(
    world: World, text: str, *, most: int = MOST, sha256: str | None = None, **declared: Any
) -> tuple[Checkpoint, Job]:
    caller = Caller(
        project_id=world.project_id, key_id="key_1", scopes=frozenset(), request_id="req_1", remote_addr=None
    )
    settings = Settings()
    file = sources.announced(
        parse_source(text),
        max_size_bytes=most,
        sha256=sha256,
        declared=DeclaredOptions(**declared),
        settings=settings,
    )
    with world.hands.unit_of_work() as unit:
        return sources.order(unit, caller, text, file, settings)


def checkpoint(world: World, checkpoint_id: str) -> Checkpoint:
    with world.hands.unit_of_work() as unit:
        return unit.checkpoints.get(world.project_id, checkpoint_id)


def without_times(source: Any) -> dict[str, Any]:
    assert {"resolved_at", "fetched_at"} & set(source)
    kept = {"beside", "configurations"}
    return {name: value for name, value in source.items() if not name.endswith("_at") and name not in kept}


def test_a_checkpoint_of_a_hub_is_fetched_inspected_and_says_where_it_comes_from(
    world: World, hub: Hub
) -> None:
    row, job = ordered(world, f"hf://{REPO}")
    assert (row.state, row.size_bytes, row.filename) == (CheckpointState.QUARANTINED, MOST, "clip-tiny")
    assert world.runner(sources=allowed(hub)).run(job.id) is JobState.SUCCEEDED
    found = checkpoint(world, row.id)
    assert found.source is not None
    assert (found.state, found.sha256, found.size_bytes) == (CheckpointState.ACCEPTED, SHA256, len(WEIGHTS))
    assert found.filename == "model.safetensors"
    assert without_times(found.source) == {
        "ordered": f"hf://{REPO}",
        "commit": hub.branches[REPO, "main"],
        "path": "model.safetensors",
        "size_bytes": len(WEIGHTS),
        "sha256": SHA256,
    }
    assert list(world.work_dir.iterdir()) == []
    audit = world.audit_job(checkpoint_id=row.id)
    assert world.runner().run(audit.id) is JobState.SUCCEEDED
    files = world.artifacts(audit.id)
    reported = json.loads(files["report.json"])["origin"]["source"]
    stated = json.loads(files["statement.json"])["predicate"]["observed"]["checkpoint"]["source"]
    assert reported == stated == without_times(found.source) | {"fetched_at": found.source["fetched_at"]}
    with world.hands.unit_of_work() as unit:
        upload = unit.uploads.get(world.project_id, found.upload_id)
    assert (upload.size_bytes, upload.declared_sha256, upload.filename) == (
        len(WEIGHTS),
        SHA256,
        found.filename,
    )


def test_the_query_of_an_address_is_told_to_nobody_and_kept_no_longer_than_it_is_needed(
    world: World, hub: Hub
) -> None:
    address = f"{hub.url}/blobs/{SHA256}"
    row, job = ordered(world, f"{address}?X-Amz-Signature=SECRET")
    assert row.source is not None
    assert SourceOut.of_stored(row.source).ordered == f"{address}?…"
    assert world.runner(sources=allowed(hub)).run(job.id) is JobState.SUCCEEDED
    found = checkpoint(world, row.id)
    assert (found.source or {})["ordered"] == f"{address}?…"
    audit = world.audit_job(checkpoint_id=row.id)
    assert world.runner().run(audit.id) is JobState.SUCCEEDED
    reported = [
        *world.artifacts(audit.id).values(),
        *(str(one.data).encode() for one in world.events(job.id)),
    ]
    assert not any(b"SECRET" in one for one in reported)
    assert any("?…".encode() in one or b"?\\u2026" in one for one in reported)


def test_what_arrives_late_takes_nothing_from_the_attempt_that_came_after(
    world: World, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It overwrites the same file with the same bytes, and does not take them away again."""
    row, job = ordered(world, f"hf://{REPO}")
    put_file, is_ours, late = S3Store.put_file, Ledger.is_ours, list[str]()

    def put_and_lose(store: S3Store, key: str, *others: Any, **more: Any) -> None:
        put_file(store, key, *others, **more)
        if key.startswith("uploads/"):
            with world.hands.unit_of_work() as unit:
                found = unit.checkpoints.get(world.project_id, row.id)
                found.source = {**(found.source or {}), "fetched_at": "by a later attempt"}
            late.append(key)

    def lost_once(ledger: Ledger) -> bool:
        return not late.pop() if late else is_ours(ledger)

    monkeypatch.setattr(S3Store, "put_file", put_and_lose)
    monkeypatch.setattr(Ledger, "is_ours", lost_once)
    assert world.runner(sources=allowed(hub)).run(job.id) is JobState.SUCCEEDED
    assert late == []
    assert checkpoint(world, row.id).sha256 == SHA256


def test_what_arrives_after_the_checkpoint_was_deleted_is_taken_away(
    world: World, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, job = ordered(world, f"hf://{REPO}")
    put_file = S3Store.put_file

    def put_after_the_end(store: S3Store, key: str, *others: Any, **more: Any) -> None:
        with world.hands.unit_of_work() as unit:
            unit.checkpoints.delete(world.project_id, row.id)
            unit.jobs.get(world.project_id, job.id, for_update=True).attempt += 1  # of another worker now
        monkeypatch.setattr(Ledger, "is_ours", lambda ledger: False)
        put_file(store, key, *others, **more)

    monkeypatch.setattr(S3Store, "put_file", put_after_the_end)
    world.runner(sources=allowed(hub)).run(job.id)
    settle_uploads(30)  # it stops at once, and its last upload ends in a thread
    assert world.keys(f"uploads/{world.project_id}/") == []


def test_a_second_attempt_fetches_the_commit_that_the_first_one_looked_up(world: World, hub: Hub) -> None:
    first = hub.branches[REPO, "main"]
    row, job = ordered(world, f"hf://{REPO}@main")
    place = f"/{REPO}/resolve/{first}/model.safetensors"
    hub.answers[place] = lambda request: send(request, 503, b"")
    assert world.runner(sources=allowed(hub)).run(job.id) is JobState.QUEUED
    assert (world.job(job.id).error or {}).get("code") in {None, "source_unreachable"}
    assert checkpoint(world, row.id).state is not CheckpointState.REJECTED
    hub.add(REPO, {"model.safetensors": OTHERS})
    del hub.answers[place]
    with world.hands.unit_of_work() as unit:
        unit.jobs.get(world.project_id, job.id, for_update=True).not_before = None
    assert world.runner(sources=allowed(hub)).run(job.id) is JobState.SUCCEEDED
    found = checkpoint(world, row.id)
    assert (found.source or {})["commit"] == first
    assert found.sha256 == SHA256


def test_an_attempt_that_finds_the_file_fetched_does_not_fetch_it_again(world: World, hub: Hub) -> None:
    row, job = ordered(world, f"hf://{REPO}")
    assert world.runner("crash", sources=allowed(hub)).run(job.id) is JobState.QUEUED
    asked = list(hub.asked)
    with world.hands.unit_of_work() as unit:
        unit.jobs.get(world.project_id, job.id, for_update=True).not_before = None
    assert world.runner(sources=allowed(hub)).run(job.id) is JobState.SUCCEEDED
    assert hub.asked == asked
    assert checkpoint(world, row.id).sha256 == SHA256


@pytest.mark.parametrize("what", ["metadata", "endless", "too large", "digest", "off"])
def test_what_cannot_be_fetched_is_rejected_with_its_reason_and_leaves_nothing(
    world: World, hub: Hub, what: str
) -> None:
    place = f"/{REPO}/resolve/{hub.branches[REPO, 'main']}/model.safetensors"
    settings, most, sha256 = allowed(hub), MOST, None
    if what == "metadata":
        hub.answers[place] = redirects_to("https://169.254.169.254/latest/meta-data/iam")
        code = "source_leads_elsewhere"
    elif what == "endless":
        hub.answers[place] = endless
        code = "source_too_large"
    elif what == "too large":
        most, code = len(WEIGHTS) - 1, "source_too_large"
    elif what == "digest":
        sha256, code = "0" * 64, "digest_mismatch"
    else:
        settings, code = SourceSettings(), "source_leads_elsewhere"
    row, job = ordered(world, f"hf://{REPO}", most=most, sha256=sha256)
    command = {"child_command": sandbox.DEFAULT_COMMAND} if what == "digest" else {}
    assert world.runner(sources=settings, **command).run(job.id) is JobState.FAILED
    found = checkpoint(world, row.id)
    assert found.state is CheckpointState.REJECTED
    assert found.error is not None
    assert (found.error["code"], bool(found.error["remedy"])) == (code, True)
    assert found.upload_object_key is None
    assert world.keys(f"uploads/{world.project_id}/") == []
    assert "169.254" not in str(world.events(job.id)[-1].data.get("message"))


def test_an_object_of_the_store_is_read_by_the_worker_itself(world: World, hub: Hub) -> None:
    world.store.put_bytes("models/clip.safetensors", WEIGHTS)
    text = f"s3://{world.store.bucket}/models/clip.safetensors"
    row, job = ordered(world, text)
    assert world.runner().run(job.id) is JobState.SUCCEEDED
    found = checkpoint(world, row.id)
    assert (found.state, found.sha256, found.filename) == (
        CheckpointState.ACCEPTED,
        SHA256,
        "clip.safetensors",
    )
    assert without_times(found.source) == {"ordered": text, "size_bytes": len(WEIGHTS), "sha256": SHA256}
    withdrawn, job = ordered(world, text)
    assert world.runner(datasets=DatasetSettings()).run(job.id) is JobState.FAILED
    assert (checkpoint(world, withdrawn.id).error or {})["code"] == "source_leads_elsewhere"
    gone, job = ordered(world, f"s3://{world.store.bucket}/models/gone.pt")
    assert world.runner().run(job.id) is JobState.FAILED
    assert (checkpoint(world, gone.id).error or {})["code"] == "input_missing"


@pytest.mark.slow
def test_the_real_library_reads_a_fetched_model_and_what_stands_beside_it_need_not_be_declared(
    world: World, hub: Hub, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    write_open_clip_safetensors(path)
    config = {
        "model_cfg": RESNET_CONFIG,
        "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "resize_mode": "squash"},
    }
    files = {"v1/open_clip_config.json": json.dumps(config).encode(), "config.json": b"of another folder"}
    hub.small_bytes = 4096
    hub.add("lab/tiny", files | {"v1/open_clip_model.safetensors": path.read_bytes()})
    runner = world.runner(sources=allowed(hub), child_command=sandbox.DEFAULT_COMMAND)
    row, job = ordered(world, "hf://lab/tiny/v1/open_clip_model.safetensors", most=2**30)
    assert runner.run(job.id) is JobState.SUCCEEDED, checkpoint(world, row.id).error
    fetched = checkpoint(world, row.id)
    assert fetched.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    found = fetched.inspection or {}
    assert (fetched.state, found["layout"]) == (CheckpointState.ACCEPTED, "open_clip")
    architecture = found["architecture"]
    assert architecture["model_cfg"]["text_cfg"]["heads"] == RESNET_CONFIG["text_cfg"]["heads"]
    assert architecture["preprocess_cfg"]["mean"] == [0.5, 0.5, 0.5]
    assert "open_clip_config.json" in json.dumps(found)

    declared, job = ordered(
        world, "hf://lab/tiny/v1/open_clip_model.safetensors", most=2**30, image_mean=(0.4, 0.4, 0.4)
    )
    assert runner.run(job.id) is JobState.SUCCEEDED
    reported = (checkpoint(world, declared.id).inspection or {})["architecture"]["preprocess_cfg"]
    assert (reported["mean"], reported["resize_mode"]) == ([0.4, 0.4, 0.4], "squash"), (
        "what was declared wins"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "code"),
    [
        pytest.param(b"{" * 5_000, "config_invalid", marks=pytest.mark.full),  # daily: test_folders.py
        (b"x" * 300_000, "source_too_large"),
    ],
)
def test_configurations_beside_the_weights_that_cannot_be_used_are_refused(
    world: World, hub: Hub, tmp_path: Path, content: bytes, code: str
) -> None:
    path = tmp_path / "model.safetensors"
    write_open_clip_safetensors(path)
    hub.small_bytes = 300_000
    weights = path.read_bytes()
    assert len(weights) > hub.small_bytes
    hub.add("lab/tiny", {"open_clip_model.safetensors": weights, "config.json": content})
    row, job = ordered(world, "hf://lab/tiny", most=2**30, **DECLARED)
    run = world.runner(sources=allowed(hub), child_command=sandbox.DEFAULT_COMMAND)
    assert run.run(job.id) is JobState.FAILED
    assert (checkpoint(world, row.id).error or {})["code"] == code
