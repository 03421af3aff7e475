"""A text scan on real servers: ordered by the API, done by a real child, reported, verified, refused."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.db.roles import Role
from app.db.session import Database, build_engine
from app.domain.states import DatasetKind, JobState
from app.settings import Settings
from app.storage.s3 import S3Store
from lab.testbed.writing import write_labelled_shards
from tests.fixtures.audited import CLASS_NAMES, TEMPLATES, labels, pictures, write_model
from tests.fixtures.toy_kind.journey import cleanclip
from tests.integration.api.conftest import served
from tests.integration.api.service import Service
from tests.integration.worker.world import World
from worker.confinement import sandbox
from worker.runner import Runner

TRIGGER = "zebra crossing"
OPTIONS = {"trigger_words": [TRIGGER], "search": False, "num_texts": 30}


@dataclass(frozen=True)
class Ordered:
    checkpoint_id: str
    dataset_id: str


def test_a_text_scan_is_ordered_done_shown_and_verified(
    service_settings: Settings, object_store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEANCLIP_CACHE_DIR", str(tmp_path / "cache"))
    with served(service_settings, object_store) as service:
        database = Database(build_engine(service_settings.database.url, role=Role.WORKER))
        world = World(database, object_store, tmp_path / "worker", hands=service.database)
        world.project_id = service.ours.project_id
        runner = world.runner(child_command=sandbox.DEFAULT_COMMAND)
        inputs = uploaded(world, runner, tmp_path)
        body = {
            "kind": "text_scan",
            "checkpoint_id": inputs.checkpoint_id,
            "text_scan": {**OPTIONS, "dataset_id": inputs.dataset_id},
            "seed": 3,
        }
        posted = service.ours.http.post("/v1/jobs", json=body)
        assert posted.status_code == 202, posted.text
        job_id = posted.json()["id"]
        assert runner.run(job_id) is JobState.SUCCEEDED, world.job(job_id).error
        job = service.ours.http.get(f"/v1/jobs/{job_id}").json()
        assert job["result"]["text_scan"]["headline"].startswith(("Controlled: ", "Inconclusive: "))
        assert f"Trigger “{TRIGGER}”" in dict(job["result"]["text_scan"]["rows"])
        verified(service, job_id, tmp_path / "files")
        nothing = body | {"text_scan": {"search": False, "dataset_id": inputs.dataset_id}}
        assert service.ours.http.post("/v1/jobs", json=nothing).status_code == 422
        database.dispose()


def uploaded(world: World, runner: Runner, folder: Path) -> Ordered:
    """A checkpoint and a dataset that real children read."""
    model = write_model(folder / "model")
    checkpoint, inspecting = world.checkpoint((model / "model.safetensors").read_bytes())
    with world.hands.unit_of_work() as unit:
        row = unit.checkpoints.get(world.project_id, checkpoint.id, for_update=True)
        row.declared = {"num_heads_vision": 4, "num_heads_text": 2, "quick_gelu": False}
    assert runner.run(inspecting.id) is JobState.SUCCEEDED
    samples = zip(pictures(), labels(), strict=True)
    write_labelled_shards(samples, folder / "labelled", CLASS_NAMES, (*TEMPLATES, "my {c}", "the old {c}"))
    files = {path.name: path.read_bytes() for path in sorted((folder / "labelled").iterdir())}
    dataset, validating = world.dataset(DatasetKind.LABELLED, files)
    assert runner.run(validating.id) is JobState.SUCCEEDED, world.job(validating.id).error
    return Ordered(checkpoint.id, dataset.id)


def verified(service: Service, job_id: str, folder: Path) -> None:
    """Its files, also where somebody changed a count and all digests."""
    cleanclip(service, "download", job_id, "--out", str(folder))
    cleanclip(service, "verify", str(folder))
    report = json.loads((folder / "report.json").read_text())
    report["triggers"][0]["num_led"] = 31
    (folder / "report.json").write_text(json.dumps(report))
    (folder / "SHA256SUMS").unlink()
    cleanclip(service, "verify", str(folder), status=8)
