"""`method: auto` from order to signed folder, on real servers: the child tells of a ladder, or lies of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("model_signing", reason="what signs is in the worker's environment only")

from app.db.models.job import Job
from app.domain.states import DatasetKind, JobState
from app.schemas.jobs import ResultOut
from cleanclip.evidence import keys
from cleanclip.evidence.verification import verify
from tests.integration.worker.stand_in_child import CLASSES, NUM_IMAGES
from tests.integration.worker.world import AUDIT, World
from worker.publishing.signing import ModelSigner
from worker.signing_keys import PUBLIC_NAME, new_key


def ladder_job(world: World) -> Job:
    """As the API orders it: half of the labelled images are validation images."""
    labelled = world.ready_dataset(DatasetKind.LABELLED)
    with world.hands.unit_of_work() as unit:
        row = unit.datasets.get(world.project_id, labelled, for_update=True)
        row.class_names = list(CLASSES)
        row.summary = {"num_samples": 2 * NUM_IMAGES, "num_skipped": 0, "class_names": list(CLASSES)}
    return world.sanitize_job(
        labelled_dataset_id=labelled,
        spec={"version": 1, "recipe": {"method": "auto"}, "audit": AUDIT | {"recheck": True}},
    )


def test_a_ladder_is_ordered_climbed_signed_and_its_choice_made_again(world: World, tmp_path: Path) -> None:
    path, key_id = new_key(tmp_path / "operator")
    job = ladder_job(world)
    assert world.runner(signer=ModelSigner(path)).run(job.id) is JobState.SUCCEEDED
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, content in world.artifacts(job.id).items():
        (folder / name).write_bytes(content)
    found = verify(folder, keys=[keys.load(tmp_path / "operator" / PUBLIC_NAME)])
    assert [str(one) for one in found.findings] == []
    assert (found.signature, found.key_sha256) == ("signed", key_id)
    assert found.statement is not None
    assert found.statement.predicate.claimed.auto is not None
    assert found.statement.predicate.observed.recheck.done
    shown = ResultOut.of(world.job(job.id).result)
    assert shown is not None
    assert shown.auto is not None
    assert [one.end for one in shown.auto.rungs][:2] == ["policy_met", "not_needed"]
    assert json.loads((folder / "config.json").read_text())["checkpoint"]["cleaned"]["recipe"] == {
        **json.loads((folder / "report.json").read_text())["recipe"]
    }


def test_a_ladder_that_lies_fails_and_publishes_nothing(world: World) -> None:
    """Each lie by itself: tests/unit/worker/test_ladder.py."""
    job = ladder_job(world)
    assert world.runner("another_choice").run(job.id) is JobState.FAILED
    row = world.job(job.id)
    assert row.error is not None
    assert (row.error["code"], row.result) == ("outputs_not_believed", None)
    assert world.artifacts(job.id) == {}
