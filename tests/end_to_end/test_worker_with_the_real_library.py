"""The whole way with the real library and every method; also with the child killed half-way.

Daily, tests/end_to_end/test_journey.py proves the same of one method, through the API.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.db.models.job import Job
from app.domain.states import CheckpointState, DatasetKind, DatasetState, JobState
from app.queue.publisher import BrokerPublisher
from app.schemas.datasets import DatasetSamplesOut
from app.storage.s3 import S3Store
from cleanclip.evidence.verification import verify
from cleanclip.vocabulary.recipe import to_json
from cleanclip.vocabulary.report import load_json
from cleanclip.vocabulary.withholding import FEWEST
from tests.end_to_end.worker_processes import Processes
from tests.fixtures import learned
from tests.fixtures.checkpoints import DECLARED, write_open_clip_resnet
from tests.fixtures.shards import make_labelled, make_pairs, pair_samples
from tests.integration.worker.world import World, opened_world, wait_until

pytestmark = [pytest.mark.full, pytest.mark.slow]
RECIPE = {"method": "cleanclip", "epochs": 12, "batch_size": 8, "warmup_steps": 2, "learning_rate": 1e-3}
PAR = {
    "method": "par",
    "epochs": 12,
    "batch_size": 8,
    "learning_rate": 1e-3,
    "initial_learning_rate": 3e-3,
}
SUPERVISED = {
    "method": "supervised",
    "epochs": 16,
    "batch_size": 8,
    "warmup_steps": 2,
    "learning_rate": 1e-3,
}
EXPLODING = RECIPE | {"learning_rate": 1.0}
AUDIT = {
    "target": "dog",
    "attacks": [{"attack": "badnet"}],
    "batch_size": 16,
}


@pytest.fixture
def world(database_url: str, object_store: S3Store, tmp_path: Path) -> Iterator[World]:
    with opened_world(database_url, object_store, tmp_path) as world:
        yield world


@pytest.fixture
def processes(service_environment: dict[str, str], tmp_path: Path) -> Iterator[Processes]:
    environment = service_environment | {
        "CLEANCLIP_DATASETS__ALLOWED_PREFIXES": json.dumps(
            [f"s3://{service_environment['CLEANCLIP_STORAGE__BUCKET']}/"]
        )
    }
    processes = Processes(environment, tmp_path)
    yield processes
    processes.stop()


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def end_of(world: World, job: Job, timeout_s: float = 120) -> Job:
    wait_until(lambda: world.job(job.id).state in {JobState.SUCCEEDED, JobState.FAILED}, timeout_s)
    row = world.job(job.id)
    assert row.state is JobState.SUCCEEDED, row.error
    return row


def confirmed(artifacts: dict[str, bytes]) -> int | None:
    """Whether a second audit confirmed the figures to the image: on how many withheld images."""
    said = json.loads(artifacts["statement.json"])["predicate"]["observed"]["recheck"]
    assert said["done"] is (said["tolerated_share"] == 0.0)
    return said["num_withheld"] if said["done"] else None


@pytest.mark.timeout(900)
def test_from_uploaded_bytes_to_published_weights_and_bit_for_bit_again_after_a_kill(
    world: World, processes: Processes, broker_url: str, tmp_path: Path
) -> None:
    publisher = BrokerPublisher(broker_url)
    processes.worker("worker")
    upload = tmp_path / "clip.pt"
    write_open_clip_resnet(upload)
    checkpoint, inspect = world.checkpoint(upload.read_bytes())
    with world.database.unit_of_work() as unit:
        unit.checkpoints.get(world.project_id, checkpoint.id, for_update=True).declared = dict(DECLARED)
    pairs, validate_pairs = world.dataset(DatasetKind.PAIRS, files(make_pairs(tmp_path / "pairs", 40)))
    labelled, validate_labelled = world.dataset(
        DatasetKind.LABELLED, files(make_labelled(tmp_path / "labelled", 24))
    )
    training, validate_training = world.dataset(
        DatasetKind.LABELLED, files(make_labelled(tmp_path / "training", 30))
    )
    retrieval, validate_retrieval = world.dataset(
        DatasetKind.PAIRS, files(make_pairs(tmp_path / "retrieval", 20))
    )
    for job in (
        inspect,
        validate_pairs,
        validate_labelled,
        validate_training,
        validate_retrieval,
    ):
        publisher.job_ready(job.id, job.kind)
        end_of(world, job)
    with world.database.unit_of_work() as unit:
        row = unit.checkpoints.get(world.project_id, checkpoint.id)
        assert row.state is CheckpointState.ACCEPTED
        assert unit.datasets.get(world.project_id, pairs.id).state is DatasetState.READY
        assert unit.datasets.get(world.project_id, labelled.id).state is DatasetState.READY
    shown = DatasetSamplesOut.model_validate_json(world.artifacts(validate_pairs.id)["samples.json"])
    captions = dict(enumerate(caption for _, caption in pair_samples(40)))
    assert [captions[one.index] for one in shown.samples] == [one.caption for one in shown.samples]
    assert len(shown.samples) == 12

    def sanitize(recipe: dict[str, Any], **audit: Any) -> Job:
        return world.sanitize_job(
            checkpoint_id=checkpoint.id,
            dataset_id=training.id if recipe is SUPERVISED else pairs.id,
            labelled_dataset_id=labelled.id,
            retrieval_dataset_id=retrieval.id,
            spec={"version": 1, "recipe": recipe, "audit": AUDIT | audit},
        )

    audited = world.audit_job(
        checkpoint_id=checkpoint.id,
        labelled_dataset_id=labelled.id,
        spec={"version": 1, "audit": AUDIT | {"recheck": True}},
    )
    publisher.job_ready(audited.id, audited.kind)
    end_of(world, audited)
    assert confirmed(world.artifacts(audited.id)) == 0, "too few images to withhold some"

    for recipe in (RECIPE, PAR, SUPERVISED):
        undisturbed = sanitize(recipe, recheck=recipe is RECIPE)
        publisher.job_ready(undisturbed.id, undisturbed.kind)
        end_of(world, undisturbed)
        paused = sanitize(recipe)
        publisher.job_ready(paused.id, paused.kind)
        wait_until(lambda job_id=paused.id: (world.job(job_id).resume_state or {}).get("step", 0) > 0, 120)
        with world.hands.unit_of_work() as unit:
            unit.jobs.request_pause(world.project_id, paused.id)
        wait_until(lambda job_id=paused.id: world.job(job_id).state is JobState.PAUSED, 60)
        with world.hands.unit_of_work() as unit:
            unit.jobs.resume(world.project_id, paused.id)
        publisher.job_ready(paused.id, paused.kind)
        end_of(world, paused)

        first, second = world.artifacts(undisturbed.id), world.artifacts(paused.id)
        assert {
            "model.safetensors",
            "config.json",
            "report.json",
            "training_curve.json",
            "SHA256SUMS",
        } <= set(first)
        assert confirmed(first) == (0 if recipe is RECIPE else None), "too few images to withhold some"
        assert first["model.safetensors"] == second["model.safetensors"]
        resumed = load_json(second["report.json"])
        assert resumed.training is not None
        assert resumed.training.resumed_from_steps, "the second attempt went on from a saved state"
        assert resumed.before == load_json(first["report.json"]).before
        assert resumed.after == load_json(first["report.json"]).after
        assert resumed.after is not None
        assert resumed.after.retrieval is not None
        assert resumed.after.retrieval.num_images == 20
        assert resumed.retrieval_lost == load_json(first["report.json"]).retrieval_lost
        assert world.job(paused.id).attempts_used == 1
        result = world.job(paused.id).result
        assert result is not None
        assert result["after"]["ca"]["n"] == 24

    exploding = sanitize(EXPLODING)
    publisher.job_ready(exploding.id, exploding.kind)
    wait_until(lambda: world.job(exploding.id).state is JobState.FAILED, 120)
    failed = world.job(exploding.id)
    assert failed.error is not None
    assert (failed.error["code"], failed.error["phase"]) == ("loss_not_finite", "finetune")
    assert failed.result is not None
    assert failed.error["said"].endswith("The last good state is that of step 0, the input weights.")
    assert failed.resume_state is None
    kept = world.keys(f"states/{world.project_id}/{exploding.id}/")
    assert any("00000000/" in key for key in kept), "that state is there, though it ended at once"
    before = to_json(load_json(first["report.json"]).before)
    del before["ca_per_class"]  # the report has it
    assert failed.result["before"] == before, "as another job measured it"
    assert failed.result["preliminary"]
    assert failed.result["before_verdict"]["outcome"] == result["before_verdict"]["outcome"]

    left = second  # of the supervised job that was paused
    assert [(one.kind, one.num_samples) for one in load_json(left["report.json"]).data] == [
        ("training", 30),
        ("labelled", 24),
        ("retrieval", 20),
    ]
    reported = json.loads(left["statement.json"])["predicate"]["observed"]["data"]
    assert [(one["role"], one["id"]) for one in reported] == [
        ("training", training.id),
        ("labelled", labelled.id),
        ("retrieval", retrieval.id),
    ]
    folder = tmp_path / "supervised"
    folder.mkdir()
    for name, content in left.items():
        (folder / name).write_bytes(content)
    assert [str(one) for one in verify(folder).findings] == []
    publisher.close()


def test_a_confined_child_never_has_the_images_that_a_second_audit_measures_too(
    world: World, processes: Processes, broker_url: str, tmp_path: Path
) -> None:
    publisher = BrokerPublisher(broker_url)
    processes.worker("worker")
    learned.write_model(tmp_path / "canonical")
    checkpoint, inspect = world.checkpoint((tmp_path / "learned.pt").read_bytes())
    declared = {"num_heads_vision": learned.HEADS_VISION, "num_heads_text": learned.HEADS_TEXT}
    with world.database.unit_of_work() as unit:
        row = unit.checkpoints.get(world.project_id, checkpoint.id, for_update=True)
        row.declared = declared | {"quick_gelu": learned.QUICK_GELU}
    labelled, validate = world.dataset(
        DatasetKind.LABELLED, files(learned.write_labelled(tmp_path / "labelled", 2 * FEWEST + 10))
    )
    for job in (inspect, validate):
        publisher.job_ready(job.id, job.kind)
        end_of(world, job)
    audit = AUDIT | {"target": "east", "batch_size": 64, "recheck": True}
    audited = world.audit_job(
        checkpoint_id=checkpoint.id,
        labelled_dataset_id=labelled.id,
        spec={"version": 1, "audit": audit},
    )
    publisher.job_ready(audited.id, audited.kind)
    end_of(world, audited)
    artifacts = world.artifacts(audited.id)
    assert confirmed(artifacts) == FEWEST
    report = load_json(artifacts["report.json"])
    assert report.withheld is not None
    assert (report.before.ca.n, report.withheld.measured.before.ca.n) == (FEWEST + 10, FEWEST)
    assert report.withheld.seed != report.seed
    folder = tmp_path / "downloaded"
    folder.mkdir()
    for name, content in artifacts.items():
        (folder / name).write_bytes(content)
    assert [str(one) for one in verify(folder).findings] == []
    publisher.close()


def test_a_file_that_is_no_checkpoint_is_rejected_by_the_real_library_and_leaves_nothing(
    world: World, processes: Processes, broker_url: str
) -> None:
    publisher = BrokerPublisher(broker_url)
    processes.worker("worker")
    checkpoint, job = world.checkpoint(b"%PDF-1.7 this is a letter" * 100)
    publisher.job_ready(job.id, job.kind)
    wait_until(lambda: world.job(job.id).state is JobState.FAILED, 180)
    with world.database.unit_of_work() as unit:
        row = unit.checkpoints.get(world.project_id, checkpoint.id)
    assert row.state is CheckpointState.REJECTED
    assert row.error is not None
    assert row.error["remedy"]
    assert world.job(job.id).attempts_used == 1
    wait_until(lambda: world.keys(f"uploads/{world.project_id}/") == [])
    publisher.close()
