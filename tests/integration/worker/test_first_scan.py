"""A cleaning that scans first, in one job on real servers: its children keep the contract, or break it."""

import hashlib
import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.db.models.job import Job
from app.domain.object_keys import states_prefix
from app.domain.states import DatasetKind, JobKind, JobState
from cleanclip.evidence.verification import verify
from cleanclip.vocabulary.found_attacks import BOTH_SUITES, TARGET_OF_SCAN
from cleanclip.vocabulary.measures import Estimate
from cleanclip.vocabulary.recipe import AuditOptions, to_json
from cleanclip.vocabulary.report import load_json
from cleanclip.vocabulary.scan_report import dump_scan, load_scan
from lab.drills.processes import processes_in, signal_all
from tests.fixtures.shards import make_pairs
from tests.integration.worker.stand_in_child import FIRST_SCAN_LIES
from tests.integration.worker.test_scans import FEW, NAMES, REAL, downloaded, real_scan_job, scan_job
from tests.integration.worker.world import RECIPE, World, wait_until

AUDIT = to_json(AuditOptions(target=TARGET_OF_SCAN, attacks=BOTH_SUITES, examples=0))


def cleaning(world: World, *, audit: dict[str, Any] = AUDIT, with_null: bool = True) -> Job:
    """Ordered by hand, as the API would."""
    scan = world.job(scan_job(world, with_null=with_null))
    return world.enqueued(
        JobKind.SANITIZE,
        checkpoint_id=scan.checkpoint_id,
        dataset_id=world.ready_dataset(DatasetKind.PAIRS),
        labelled_dataset_id=scan.labelled_dataset_id,
        spec=scan.spec | {"recipe": RECIPE, "audit": audit},
    )


def test_it_scans_audits_what_it_found_and_leaves_the_scans_files_beside_its_own(
    world: World, tmp_path: Path
) -> None:
    job_id = cleaning(world).id
    assert world.runner().run(job_id) is JobState.SUCCEEDED, world.job(job_id).error
    folder = downloaded(world, job_id, tmp_path / "cleaned")
    scan = load_scan((folder / "scan.json").read_bytes())
    report = load_json((folder / "report.json").read_bytes())
    assert report.audit.attacks == (*BOTH_SUITES, *scan.attacks())
    assert report.audit.target == NAMES[0]
    section = report.scan
    assert section is not None
    assert section.report_sha256 == hashlib.sha256((folder / "scan.json").read_bytes()).hexdigest()
    assert (section.scan_id, section.num_known, section.p_value) == (job_id, len(BOTH_SUITES), 1 / 20)
    assert {"scan.html", "scan.md", "null.json", "report.html", "model.safetensors"} <= {
        path.name for path in folder.iterdir()
    }
    assert verify(folder).findings == ()
    shown = world.shown(job_id)
    assert [(one.name, one.state) for one in shown.phases][:3] == [
        ("stage", "succeeded"),
        ("scan", "succeeded"),
        ("baseline_audit", "succeeded"),
    ]
    assert shown.audit is not None
    assert (shown.audit.target, shown.audit.attacks_from_scan) == (NAMES[0], None)
    assert shown.scan is not None
    assert shown.attempt == 1
    changed_by_hand(folder)


def changed_by_hand(folder: Path) -> None:
    """What is changed in the files of the scan is named."""
    as_it_is = load_scan((folder / "scan.json").read_bytes())
    first, *others = as_it_is.hypotheses
    with_other_asr = replace(as_it_is, hypotheses=(replace(first, asr=Estimate(n=10, successes=5)), *others))
    scan = json.loads((folder / "scan.json").read_text())
    scan["hypotheses"][0]["asr"]["value"] = 0.5
    (folder / "scan.json").write_text(json.dumps(scan))
    findings = [str(one) for one in verify(folder).findings]
    assert any(one.startswith("scan.json: hypotheses[0].asr.value") for one in findings)
    (folder / "scan.json").write_bytes(dump_scan(with_other_asr))
    findings = [str(one) for one in verify(folder).findings]
    assert any(one.startswith("report.json: scan ") for one in findings), findings
    (folder / "scan.json").unlink()
    assert "scan.json: is missing" in [str(one) for one in verify(folder).findings]


def test_triggers_that_the_order_names_stay_and_so_does_its_target(world: World) -> None:
    audit = to_json(AuditOptions(target="banana", attacks=BOTH_SUITES[:1], examples=0))
    job_id = cleaning(world, audit=audit, with_null=False).id
    assert world.runner().run(job_id) is JobState.SUCCEEDED, world.job(job_id).error
    files = world.artifacts(job_id)
    report = load_json(files["report.json"])
    assert report.audit.target == "banana"
    assert report.audit.attacks == (BOTH_SUITES[0], *load_scan(files["scan.json"]).attacks())
    assert "null.json" not in files


def test_before_its_scan_the_job_shows_no_target(world: World) -> None:
    shown = world.shown(cleaning(world).id)
    assert shown.audit is not None
    assert shown.audit.target is None
    assert [one.name for one in shown.phases][:2] == ["stage", "scan"]


@pytest.mark.parametrize("behaviour", ["leave_no_scan", *FIRST_SCAN_LIES])
def test_a_child_that_breaks_the_contract_is_not_believed(world: World, behaviour: str) -> None:
    job_id = cleaning(world).id
    assert world.runner(behaviour).run(job_id) is JobState.FAILED
    row = world.job(job_id)
    assert row.error is not None
    assert row.error["code"] == "outputs_rejected"
    assert world.artifacts(job_id) == {}


def test_a_machine_that_is_lost_after_the_scan_does_not_scan_again(world: World) -> None:
    job_id = cleaning(world).id
    running = world.start(job_id, "work_until_told")
    wait_until(lambda: world.is_training(job_id, step=1), timeout_s=60)
    running.leaving.set()
    assert running.join() is JobState.QUEUED
    assert world.runner().run(job_id) is JobState.SUCCEEDED, world.job(job_id).error
    assert world.event_types(job_id).count("scanned") == 1
    assert "scan.json" in world.artifacts(job_id)


def test_a_child_that_crashed_after_the_scan_may_have_lied_there_so_the_job_scans_again(world: World) -> None:
    job_id = cleaning(world).id
    ordered = world.job(job_id).spec
    running = world.start(job_id, "work_until_told")
    wait_until(lambda: world.is_training(job_id, step=1), timeout_s=60)
    signal_all(processes_in(world.work_dir), signal.SIGKILL)
    assert running.join() is JobState.QUEUED
    assert world.job(job_id).spec == ordered | {"scan_section": None, "scanned": None}
    assert world.runner().run(job_id) is JobState.SUCCEEDED, world.job(job_id).error
    assert world.event_types(job_id).count("scanned") == 2


def test_a_job_whose_scan_was_swept_scans_again(world: World) -> None:
    job_id = cleaning(world).id
    running = world.start(job_id, "work_until_told")
    wait_until(lambda: world.is_training(job_id, step=1), timeout_s=60)
    running.leaving.set()
    running.join()
    world.store.delete_prefix(states_prefix(world.project_id, job_id))
    assert world.runner().run(job_id) is JobState.SUCCEEDED, world.job(job_id).error
    assert world.event_types(job_id).count("scanned") == 2
    artifacts = world.artifacts(job_id)
    found = load_scan(artifacts["scan.json"]).attacks()
    assert found
    assert load_json(artifacts["report.json"]).audit.attacks == (*BOTH_SUITES, *found)


@pytest.mark.full  # daily: tests/numerics/test_scan.py
def test_a_model_that_cannot_be_audited_is_refused_before_it_is_scanned(world: World, tmp_path: Path) -> None:
    scan = world.job(real_scan_job(world, tmp_path, FEW, is_at_chance=True))
    job = world.enqueued(
        JobKind.SANITIZE,
        checkpoint_id=scan.checkpoint_id,
        dataset_id=world.ready_dataset(DatasetKind.PAIRS),
        labelled_dataset_id=scan.labelled_dataset_id,
        spec=scan.spec | {"recipe": RECIPE, "audit": AUDIT},
    )
    assert world.runner(**REAL).run(job.id) is JobState.FAILED
    row = world.job(job.id)
    assert (row.error or {})["code"] == "settings_at_chance"
    assert [(one.name, one.state) for one in world.shown(job.id).phases][1] == ("scan", "pending")
    assert "scanned" not in world.event_types(job.id)


@pytest.mark.full  # the stand-in child keeps the same contract daily, above
@pytest.mark.timeout(600)  # six processes load torch, one after the other
def test_real_children_scan_and_clean_a_model_in_one_job(world: World, tmp_path: Path) -> None:
    scan = world.job(real_scan_job(world, tmp_path, FEW))
    shards = make_pairs(tmp_path / "pairs", 16)
    files = {path.name: path.read_bytes() for path in shards.iterdir()}
    pairs, validating = world.dataset(DatasetKind.PAIRS, files)
    assert world.runner(**REAL).run(validating.id) is JobState.SUCCEEDED, world.job(validating.id).error
    recipe = {**RECIPE, "epochs": 1, "batch_size": 8}
    job = world.enqueued(
        JobKind.SANITIZE,
        checkpoint_id=scan.checkpoint_id,
        dataset_id=pairs.id,
        labelled_dataset_id=scan.labelled_dataset_id,
        spec=scan.spec | {"recipe": recipe, "audit": {**AUDIT, "recheck": True}},
    )
    assert world.runner(**REAL).run(job.id) is JobState.SUCCEEDED, world.job(job.id).error
    folder = downloaded(world, job.id, tmp_path / "cleaned")
    assert verify(folder).findings == ()
    report, found = (
        load_json((folder / "report.json").read_bytes()),
        load_scan((folder / "scan.json").read_bytes()),
    )
    assert report.scan is not None
    assert report.audit.attacks == (*BOTH_SUITES, *found.attacks())
    assert report.scan.sentence in (folder / "report.md").read_text()
    again = replace(found, created_at=report.created_at)
    assert again.checkpoint.weights_sha256 == report.checkpoint.weights_sha256
