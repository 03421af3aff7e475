"""A scan from hint to end on real servers: the child keeps the contract without a model, or breaks it."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.domain.states import DatasetKind, JobKind, JobState
from app.services import nulls
from cleanclip.evidence.statement import dataset_sha256
from cleanclip.evidence.verification import verify
from cleanclip.vocabulary.null_set import dump_null
from cleanclip.vocabulary.recipe import to_json
from cleanclip.vocabulary.scan_options import CollapseDetectorOptions, PatternFamily, ScanOptions
from lab.testbed.writing import write_labelled_shards
from tests.fixtures.audited import (
    CLASS_NAMES,
    TEMPLATES,
    changed,
    labels,
    pictures,
    write_answered,
    write_model,
)
from tests.fixtures.scans import a_null
from tests.integration.worker.world import World, wait_until
from worker.confinement import sandbox
from worker.publishing.signing import ModelSigner
from worker.signing_keys import new_key

NAMES = ("apple", "banana", "cherry", "date", "elder", "fig")
OPTIONS = ScanOptions()


def scan_job(world: World, *, with_null: bool = True, with_anchor: bool = False) -> str:
    """Ordered by hand, as the API would."""
    options = replace(OPTIONS, detectors=ScanOptions.usual_detectors(has_anchor=with_anchor))
    anchor = world.accepted_checkpoint(b"of the anchor") if with_anchor else None
    labelled = world.ready_dataset(DatasetKind.LABELLED)
    with world.hands.unit_of_work() as unit:
        row = unit.datasets.get(world.project_id, labelled, for_update=True)
        row.class_names = list(NAMES)
        row.summary = {"num_samples": 300, "num_skipped": 0, "class_names": list(NAMES)}
        shard = row.files[0]["sha256"]
    chosen = None
    if with_null:
        listed = "".join(f"{name}\n" for name in NAMES).encode()
        files = {"0.tar": shard, "classnames.txt": hashlib.sha256(listed).hexdigest()}
        with world.hands.unit_of_work() as unit:
            weights = anchor and unit.checkpoints.get(world.project_id, anchor).weights_sha256
        images = dataset_sha256("labelled", files)
        null = a_null(
            options, NAMES, images_sha256=images, seed=7, name=world.project_id, anchor_sha256=weights
        )
        added = nulls.add(world.hands, world.store, dump_null(null), account="me@here")
        chosen = {"id": added.id, "name": added.name, "sha256": null.sha256, "chosen": "by_name"}
    job = world.enqueued(
        JobKind.SCAN,
        checkpoint_id=world.accepted_checkpoint(),
        labelled_dataset_id=labelled,
        spec={"scan": to_json(options), "null": chosen},
        anchor_checkpoint_id=anchor,
    )
    return job.id


def downloaded(world: World, job_id: str, folder: Path) -> Path:
    folder.mkdir()
    for name, content in world.artifacts(job_id).items():
        (folder / name).write_bytes(content)
    return folder


def test_a_scan_publishes_its_report_the_null_and_a_verdict_on_the_weights(
    world: World, tmp_path: Path
) -> None:
    job_id = scan_job(world)
    assert world.runner().run(job_id) is JobState.SUCCEEDED
    folder = downloaded(world, job_id, tmp_path / "scanned")
    files = {"report.json", "report.html", "report.md", "null.json", "statement.json", "SHA256SUMS"}
    assert {path.name for path in folder.iterdir()} == files
    shown = world.shown(job_id)
    assert shown.result is not None
    assert shown.result.scan is not None
    assert (shown.result.scan.verdict.outcome, shown.result.scan.p_value) == ("fail", 1 / 20)
    assert [phase.name for phase in shown.phases] == ["stage", "scan", "publish"]
    with world.database.unit_of_work() as unit:
        own, _ = unit.verdicts.of_job(world.project_id, job_id, 5)
    assert own is not None
    assert (own.stage.value, own.outcome.value) == ("scan", "fail")
    found = verify(folder)
    assert found.findings == ()
    assert found.statement is not None
    assert found.statement.predicate.claimed.verdict.outcome == "fail"
    changed_by_hand(folder)


def changed_by_hand(folder: Path) -> None:
    """A figure or a null that is changed is named."""
    reported = json.loads((folder / "report.json").read_text())
    reported["hypotheses"][0]["asr"]["value"] = 0.5
    (folder / "report.json").write_text(json.dumps(reported))
    assert "hypotheses[0].asr.value" in [one.where for one in verify(folder).findings]
    reported["hypotheses"][0]["asr"] = {"n": 10, "successes": 5}
    reported["p_value"] = 0.01
    (folder / "report.json").write_text(json.dumps(reported))
    null = a_null(OPTIONS, NAMES, images_sha256="0" * 64, seed=7)
    (folder / "null.json").write_bytes(dump_null(replace(null, name="mine")))
    findings = [str(one) for one in verify(folder).findings]
    assert any("hypotheses is not what statement.json says" in one for one in findings), findings
    assert any("p_value is 0.01, but the rest" in one for one in findings), findings
    assert any(one.startswith("null.json") for one in findings)


def test_a_scan_with_an_anchor_states_whose_weights_it_had(world: World, tmp_path: Path) -> None:
    job_id = scan_job(world, with_anchor=True)
    assert world.runner().run(job_id) is JobState.SUCCEEDED, world.job(job_id).error
    folder = downloaded(world, job_id, tmp_path / "scanned")
    assert verify(folder).findings == ()
    reported = json.loads((folder / "report.json").read_text())
    statement = json.loads((folder / "statement.json").read_text())
    order = statement["predicate"]["observed"]["order"]
    assert order["anchor_weights_sha256"] == reported["anchor"]["weights_sha256"]
    order["anchor_weights_sha256"] = "0" * 64
    (folder / "statement.json").write_text(json.dumps(statement))
    findings = [str(one) for one in verify(folder).findings]
    assert any("anchor.weights_sha256" in one for one in findings), findings


def test_without_a_null_a_scan_has_no_p_value_and_cannot_fail(world: World) -> None:
    job_id = scan_job(world, with_null=False)
    assert world.runner().run(job_id) is JobState.SUCCEEDED
    shown = world.shown(job_id)
    assert shown.result is not None
    assert shown.result.scan is not None
    assert (shown.result.scan.verdict.outcome, shown.result.scan.p_value) == ("controlled", None)
    assert [one.led.value for one in shown.result.scan.control if one.judged] == [0.95] * 4
    assert "null.json" not in world.artifacts(job_id)


def test_a_scan_whose_null_was_removed_says_which_and_to_order_again(world: World) -> None:
    job_id = scan_job(world)
    chosen = world.job(job_id).spec["null"]
    nulls.remove(world.hands, world.store, chosen["id"])
    assert world.runner().run(job_id) is JobState.FAILED
    error = world.job(job_id).error
    assert error is not None
    assert (error["code"], error["retryable"]) == ("null_removed", False)
    assert f"The null '{chosen['name']}'" in error["message"]
    assert "Order the scan again" in error["remedy"]


@pytest.mark.parametrize("behaviour", ["work", "invent_a_search"])
def test_a_scan_that_is_signed_is_made_again_by_a_process_that_never_read_the_upload(
    world: World, tmp_path: Path, behaviour: str
) -> None:
    signer = ModelSigner(new_key(tmp_path / "key")[0])
    job_id, unsigned = scan_job(world), scan_job(world, with_null=False)
    if behaviour == "work":
        assert world.runner(behaviour, signer=signer).run(job_id) is JobState.SUCCEEDED
        found = verify(downloaded(world, job_id, tmp_path / "scanned"))
        assert found.statement is not None
        facts = found.statement.predicate.observed.recheck
        assert (found.findings, facts.done, facts.why, facts.tolerated_share) == ((), True, "by_default", 0.0)
        shown = world.shown(job_id).result
        assert shown is not None
        assert shown.recheck.done
        return
    assert world.runner(behaviour).run(unsigned) is JobState.SUCCEEDED, "nothing else tells"
    assert world.runner(behaviour, signer=signer).run(job_id) is JobState.FAILED
    error = world.job(job_id).error
    assert error is not None
    assert (error["code"], error["retryable"]) == ("figures_not_confirmed", False)
    assert world.artifacts(job_id) == {}


FEW = ScanOptions(
    detectors=("collapse",),
    collapse=CollapseDetectorOptions(
        families=(PatternFamily(family="patch", budget=0.25),), restarts=2, images_per_step=4, steps=(2, 4)
    ),
    num_images=64,
    num_held_out=64,
    vocabulary=False,
    num_examples=1,
)
"""A few seconds on a model of the smallest kind."""


@pytest.mark.full  # daily: tests/unit/worker/test_scanning.py, tests/numerics/test_scan.py
def test_a_real_child_scans_without_class_names_and_is_believed(world: World, tmp_path: Path) -> None:
    job_id = real_scan_job(world, tmp_path, replace(FEW, class_names="none", vocabulary=True))
    assert world.runner(**REAL).run(job_id) is JobState.SUCCEEDED, world.job(job_id).error
    folder = downloaded(world, job_id, tmp_path / "scanned")
    assert verify(folder).findings == ()
    report = json.loads((folder / "report.json").read_text())
    assert report["hypotheses"][0]["target"] is None
    assert [one["true_class"] in CLASS_NAMES for one in report["examples"]] == [True]


@pytest.mark.full  # daily: the stand-in child, above, and tests/numerics/test_scan_with_an_anchor.py
def test_a_real_child_scans_with_an_anchor(world: World, tmp_path: Path) -> None:
    detectors = ("collapse", "residual")
    job_id = real_scan_job(world, tmp_path, replace(FEW, detectors=detectors), with_anchor=True)
    assert world.runner(**REAL).run(job_id) is JobState.SUCCEEDED, world.job(job_id).error
    folder = downloaded(world, job_id, tmp_path / "scanned")
    assert verify(folder).findings == ()
    report = json.loads((folder / "report.json").read_text())
    assert [one["detector"] for one in report["judgements"]] == [*detectors]
    assert report["anchor"]["weights_sha256"] != report["checkpoint"]["weights_sha256"]
    row = world.job(job_id)
    same = world.enqueued(
        JobKind.SCAN,
        checkpoint_id=row.checkpoint_id,
        anchor_checkpoint_id=row.checkpoint_id,
        labelled_dataset_id=row.labelled_dataset_id,
        spec={"scan": to_json(replace(FEW, detectors=("residual",))), "null": None},
    )
    assert world.runner(**REAL).run(same.id) is JobState.FAILED
    assert (world.job(same.id).error or {})["code"] == "anchor_is_the_suspect"


@pytest.mark.full  # daily: tests/numerics/test_scan.py, tests/unit/worker/test_training_states.py
def test_a_scan_whose_machine_is_lost_goes_on_with_its_finished_parts_on_another(
    world: World, tmp_path: Path
) -> None:
    """To the bit as if nothing had happened."""
    families = (PatternFamily(family="patch", budget=0.25), PatternFamily(family="blend", budget=0.1))
    longer = replace(FEW, collapse=replace(FEW.collapse, families=families, steps=(2, 400)))
    job_id = real_scan_job(world, tmp_path, longer)
    running = world.start(job_id, save_every_s=0.01, **REAL)
    wait_until(lambda: "state_saved" in world.event_types(job_id), timeout_s=120)
    running.leaving.set()
    assert running.join() is JobState.QUEUED
    assert list(world.work_dir.rglob("scan-*.safetensors")) == []
    assert world.runner(**REAL).run(job_id) is JobState.SUCCEEDED, world.job(job_id).error
    assert any("continues: 1 of its parts" in str(event.data) for event in world.events(job_id))
    row = world.job(job_id)
    undisturbed = world.enqueued(
        JobKind.SCAN,
        checkpoint_id=row.checkpoint_id,
        labelled_dataset_id=row.labelled_dataset_id,
        spec={"scan": to_json(longer), "null": None},
    )
    assert world.runner(**REAL).run(undisturbed.id) is JobState.SUCCEEDED
    reported, expected = (json.loads(world.artifacts(one)["report.json"]) for one in (job_id, undisturbed.id))
    for report in (reported, expected):
        del report["created_at"], report["origin"], report["statistics"]["wall_s"]
    assert reported == expected


REAL: dict[str, Any] = {"child_command": sandbox.DEFAULT_COMMAND}


def inspected(world: World, model: Path) -> str:
    """A tiny model that a real child has inspected."""
    checkpoint, inspecting = world.checkpoint((model / "model.safetensors").read_bytes())
    with world.hands.unit_of_work() as unit:
        row = unit.checkpoints.get(world.project_id, checkpoint.id, for_update=True)
        row.declared = {"num_heads_vision": 4, "num_heads_text": 2, "quick_gelu": False}
    assert world.runner(**REAL).run(inspecting.id) is JobState.SUCCEEDED, world.job(inspecting.id).error
    return checkpoint.id


def real_scan_job(
    world: World,
    tmp_path: Path,
    options: ScanOptions,
    *,
    with_anchor: bool = False,
    is_at_chance: bool = False,
) -> str:
    """Of a tiny model that was inspected and of images that were validated; its anchor is near to it.
    Where it `is_at_chance`, the images have other labels than the model gives them."""
    model = write_model(tmp_path / "model")
    checkpoint_id = inspected(world, model)
    anchor = inspected(world, changed(model, tmp_path / "anchor", 0)) if with_anchor else None
    shards, shown = tmp_path / "labelled", pictures(140)
    if is_at_chance:
        write_labelled_shards(zip(shown, labels(140), strict=True), shards, CLASS_NAMES, TEMPLATES)
    else:
        write_answered(shards, model, shown, CLASS_NAMES)
    files = {path.name: path.read_bytes() for path in shards.iterdir()}
    dataset, validating = world.dataset(DatasetKind.LABELLED, files)
    assert world.runner(**REAL).run(validating.id) is JobState.SUCCEEDED, world.job(validating.id).error
    job = world.enqueued(
        JobKind.SCAN,
        checkpoint_id=checkpoint_id,
        labelled_dataset_id=dataset.id,
        spec={"scan": to_json(options), "null": None},
        anchor_checkpoint_id=anchor,
    )
    return job.id
