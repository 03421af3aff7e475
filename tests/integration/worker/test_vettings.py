"""A vetting from hint to end on real servers, and a cleaning that leaves out what it set aside."""

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

from app.domain.states import DatasetKind, JobKind, JobState
from cleanclip.evidence import sentences
from cleanclip.evidence.verification import verify
from cleanclip.vocabulary.recipe import to_json
from cleanclip.vocabulary.vet_options import VetOptions
from tests.integration.worker.stand_in_child import NUM_IMAGES, NUM_PAIRS, NUM_TRUSTED
from tests.integration.worker.test_scans import downloaded
from tests.integration.worker.world import World

FILES = {"report.json", "report.html", "report.md", "vet_scores.jsonl.gz", "excluded.json"}
STATED = FILES | {"statement.json", "SHA256SUMS"}


def dataset(world: World, kind: DatasetKind, num_samples: int, body: bytes = b"shard") -> str:
    """Ready, and counted."""
    found = world.ready_dataset(kind, body)
    with world.hands.unit_of_work() as unit:
        row = unit.datasets.get(world.project_id, found, for_update=True)
        names = (
            ["apple", "banana", "cherry", "date", "elder", "fig"] if kind is DatasetKind.LABELLED else None
        )
        row.class_names = names
        row.summary = {"num_samples": num_samples, "num_skipped": 0, "class_names": names, "sha256": "1" * 64}
    return found


def vet_job(world: World, options: VetOptions | None = None, **inputs: Any) -> str:
    """Ordered by hand, as the API would."""
    given = {"dataset_id": dataset(world, DatasetKind.PAIRS, NUM_PAIRS)} | inputs
    checkpoint = given.pop("checkpoint_id", None) or world.accepted_checkpoint()
    job = world.enqueued(
        JobKind.VET, checkpoint_id=checkpoint, spec={"vet": to_json(options or VetOptions())}, **given
    )
    return job.id


def full_job(world: World) -> str:
    """With a trusted set and an anchor."""
    return vet_job(
        world,
        trusted_dataset_id=dataset(world, DatasetKind.PAIRS, NUM_TRUSTED, b"trusted"),
        anchor_checkpoint_id=world.accepted_checkpoint(b"CLIP of somebody else"),
    )


def test_a_vetting_publishes_its_report_the_scores_and_the_list(world: World, tmp_path: Path) -> None:
    job_id = full_job(world)
    assert world.runner().run(job_id) is JobState.SUCCEEDED
    folder = downloaded(world, job_id, tmp_path / "vetted")
    assert {path.name for path in folder.iterdir()} == STATED
    shown = world.shown(job_id)
    assert shown.result is not None
    assert shown.result.vet is not None
    assert shown.result.verdict is None
    assert (shown.result.vet.set_aside.num, shown.result.vet.set_aside.of) == (9, NUM_PAIRS)
    assert [phase.name for phase in shown.phases] == ["stage", "vet", "publish"]
    with world.database.unit_of_work() as unit:
        assert unit.verdicts.of_job(world.project_id, job_id, 5)[0] is None
    found = verify(folder)
    assert found.findings == ()
    proven, not_proven = " ".join(sentences.proven(found)), " ".join(sentences.not_proven(found))
    assert "verdict" not in proven + not_proven
    assert "triggers" not in not_proven
    assert "The samples that are set aside are the worst by their scores" in proven
    assert "That the samples which are set aside are poisoned" in not_proven
    observed = json.loads((folder / "statement.json").read_text())["predicate"]["observed"]
    assert [one["role"] for one in observed["data"]] == ["pairs", "trusted"]
    reported = json.loads((folder / "report.json").read_text())
    assert observed["order"]["anchor_weights_sha256"] == reported["anchor"]["weights_sha256"]
    changed_by_hand(folder)


def changed_by_hand(folder: Path) -> None:
    """A list or a score that is changed is named."""
    listed = json.loads((folder / "excluded.json").read_text())
    listed["samples"].pop()
    (folder / "excluded.json").write_text(json.dumps(listed))
    scores = gzip.decompress((folder / "vet_scores.jsonl.gz").read_bytes()).replace(b"true", b"false", 1)
    (folder / "vet_scores.jsonl.gz").write_bytes(gzip.compress(scores, mtime=0))
    assert {one.file for one in verify(folder).findings} == {"excluded.json", "vet_scores.jsonl.gz"}


def test_labelled_images_without_anything_to_compare_with_are_vetted(world: World, tmp_path: Path) -> None:
    job_id = vet_job(world, dataset_id=dataset(world, DatasetKind.LABELLED, NUM_PAIRS))
    assert world.runner().run(job_id) is JobState.SUCCEEDED
    assert verify(downloaded(world, job_id, tmp_path / "vetted")).findings == ()


def test_words_that_are_not_those_of_the_data_are_found_by_a_process_that_vets_again(world: World) -> None:
    job_id = full_job(world)
    assert world.runner("invent_a_search").run(job_id) is JobState.FAILED
    error = world.job(job_id).error
    assert error is not None
    assert (error["code"], error["retryable"]) == ("figures_not_confirmed", False)


def excluding(world: World, role: str, vetting: str) -> dict[str, Any]:
    """As an order pins the list of a vetting."""
    reported = (world.job(vetting).result or {})["vet"]
    sha256 = hashlib.sha256(world.artifacts(vetting)["excluded.json"]).hexdigest()
    num = reported["set_aside"]["num"]
    return {role: {"job_id": vetting, "list_sha256": sha256, "num": num, "reason": reported["reason"]}}


def test_a_cleaning_leaves_out_the_list_and_its_second_audit_too(world: World, tmp_path: Path) -> None:
    images = dataset(world, DatasetKind.LABELLED, NUM_PAIRS)
    vetting = vet_job(world, dataset_id=images)
    assert world.runner().run(vetting) is JobState.SUCCEEDED
    exclude = excluding(world, "labelled", vetting)
    num = exclude["labelled"]["num"]
    with world.hands.unit_of_work() as unit:  # as reports of the stand-in count them
        row = unit.datasets.get(world.project_id, images, for_update=True)
        row.summary = {**(row.summary or {}), "num_samples": NUM_IMAGES + num}
    first = world.sanitize_job(labelled_dataset_id=images)
    spec = {**first.spec, "audit": {**first.spec["audit"], "recheck": True}, "exclude": exclude}
    with world.hands.unit_of_work() as unit:
        unit.jobs.get(world.project_id, first.id, for_update=True).spec = spec
    assert world.runner().run(first.id) is JobState.SUCCEEDED
    folder = downloaded(world, first.id, tmp_path / "cleaned")
    assert verify(folder).findings == ()
    reported = json.loads((folder / "report.json").read_text())
    [excluded] = [one["excluded"] for one in reported["data"] if one["kind"] == "labelled"]
    assert excluded == {name: exclude["labelled"][name] for name in ("num", "reason", "list_sha256")}
    stated = json.loads((folder / "statement.json").read_text())["predicate"]["observed"]
    assert stated["order"]["exclude"] == {"labelled": excluded["list_sha256"]}
    assert stated["recheck"]["done"] is True


def test_a_list_whose_vetting_was_deleted_fails_the_job_that_needs_it(world: World) -> None:
    job = world.sanitize_job()
    gone = {"job_id": "job_" + "0" * 26, "list_sha256": "0" * 64, "num": 1, "reason": "a vetting"}
    with world.hands.unit_of_work() as unit:
        row = unit.jobs.get(world.project_id, job.id, for_update=True)
        row.spec = {**row.spec, "exclude": {"pairs": gone}}
    assert world.runner().run(job.id) is JobState.FAILED
    assert (world.job(job.id).error or {})["code"] == "input_missing"
