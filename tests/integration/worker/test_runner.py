"""One job of each kind from hint to end, on real servers; the child keeps the contract without a model."""

import base64
import hashlib
import json
from pathlib import Path

import pytest

from app.db.repositories.verdicts import NO_VERDICTS
from app.domain.object_keys import state_prefix, states_prefix
from app.domain.states import CheckpointState, DatasetKind, DatasetState, JobState
from app.schemas.datasets import DatasetSamplesOut
from app.schemas.jobs import ResultOut
from cleanclip.evidence.verification import verify
from cleanclip.vocabulary.progress import SAMPLES_REUSED
from tests.integration.worker.world import World, wait_until
from worker.confinement import sandbox

REPORTS = {
    "report.json": "application/json",
    "report.html": "text/html; charset=utf-8",
    "report.md": "text/markdown; charset=utf-8",
}


def test_a_sanitize_job_publishes_its_files_with_digests_and_its_figures(world: World) -> None:
    job = world.sanitize_job()
    assert world.runner().run(job.id) is JobState.SUCCEEDED
    row = world.job(job.id)
    assert row.state is JobState.SUCCEEDED
    assert row.result is not None
    assert row.result["verdict"]["outcome"] == "pass"
    assert row.result["before"]["attacks"][0]["asr"]["n"] == 200
    assert row.result["signature"]["state"] == "unsigned"
    assert len(row.result["artifact_ids"]) == 8
    assert row.progress["fraction"] == 1.0
    assert [phase["state"] for phase in row.phases] == ["succeeded"] * 5
    assert all(phase["started_at"] <= phase["finished_at"] for phase in row.phases)
    files = world.artifacts(job.id)
    assert set(files) == {
        "model.safetensors", "config.json", "report.json", "report.html", "report.md", "training_curve.json",
        "statement.json", "SHA256SUMS",
    }  # fmt: skip
    for line in files["SHA256SUMS"].decode().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256(files[name]).hexdigest() == digest
    assert list(world.work_dir.iterdir()) == []
    assert row.lease_owner is None
    made = hashlib.sha256(files["model.safetensors"]).hexdigest()
    came_in = json.loads(files["statement.json"])["predicate"]["observed"]["canonical"]
    digest_in = next(one["digest"]["sha256"] for one in came_in if one["name"] == "model.safetensors")
    assert verdicts(world, digest_in) == [("before_cleaning", "fail", job.id)]
    assert verdicts(world, made) == [("after_cleaning", "pass", job.id)]


def verdicts(world: World, weights_sha256: str) -> list[tuple[str, str, str]]:
    with world.database.unit_of_work() as unit:
        found = unit.verdicts.on(world.project_id, weights_sha256, 20)
    return [(row.stage.value, row.outcome.value, row.job_id) for row in found.rows]


def test_a_job_whose_loss_explodes_keeps_what_was_measured_before(world: World) -> None:
    job = world.sanitize_job()
    assert world.runner("diverge").run(job.id) is JobState.FAILED
    row = world.job(job.id)
    assert row.error is not None
    assert (row.error["code"], row.error["phase"], row.attempts_used) == ("loss_not_finite", "finetune", 1)
    reported = ResultOut.model_validate(row.result)
    assert reported.before is not None
    assert (reported.before.ca.n, len(reported.before.attacks)) == (300, 4)
    assert (reported.preliminary, reported.verdict, reported.after, reported.artifact_ids) == (
        True,
        None,
        None,
        [],
    )
    assert reported.before_verdict is not None
    assert reported.before_verdict.outcome == "fail"
    assert verdicts(world, reported.before.weights_sha256) == [("before_cleaning", "fail", job.id)]
    assert world.artifacts(job.id) == {}
    assert row.resume_state is None, "nothing goes on from it"
    stored = {item.key for item in world.store.list_prefix(states_prefix(world.project_id, job.id))}
    for_operators = [state_prefix(world.project_id, job.id, 1, step) for step in (2, 8)]
    assert {key.rpartition("/")[0] + "/" for key in stored} == {*for_operators}, "the last good, the last"


def test_the_first_audit_is_shown_while_training_runs_and_stays_after_a_cancel(world: World) -> None:
    job = world.sanitize_job()
    running = world.start(job.id, "work_until_told")
    wait_until(lambda: world.job(job.id).result)
    while_it_runs = world.job(job.id)
    assert while_it_runs.state is JobState.RUNNING
    shown = ResultOut.model_validate(while_it_runs.result)
    assert shown.before is not None
    assert shown.before_verdict is not None
    assert (shown.preliminary, shown.before_verdict.outcome, shown.verdict) == (True, "fail", None)
    [event] = [one for one in world.events(job.id) if one.type == "audited"]
    assert event.data == {"outcome": "fail"}
    with world.database.unit_of_work() as unit:
        unit.jobs.request_cancel(world.project_id, job.id)
    assert running.join() is JobState.CANCELLED
    assert world.job(job.id).result == while_it_runs.result
    with world.database.unit_of_work() as unit:
        own, found = unit.verdicts.of_job(world.project_id, job.id, 5)
    assert [(one.outcome.value, one.is_preliminary) for one in found.rows] == [("fail", True)]
    assert own is not None
    assert own.weights_sha256 == shown.before.weights_sha256


@pytest.mark.parametrize(
    "behaviour",
    ["diverge_and_link", "diverge_and_lie", "tell_of_other_weights", "tell_one_thing_and_report_another"],
)
def test_a_first_audit_that_lies_ends_the_job_and_nothing_of_it_is_kept(world: World, behaviour: str) -> None:
    """A link, no numbers, other weights, other figures than those of the report."""
    job = world.sanitize_job()
    assert world.runner(behaviour).run(job.id) is JobState.FAILED
    row = world.job(job.id)
    assert row.error is not None
    assert (row.error["code"], row.result) == ("outputs_rejected", None)
    with world.database.unit_of_work() as unit:
        assert unit.verdicts.of_job(world.project_id, job.id, 5) == (None, NO_VERDICTS)
    if behaviour == "tell_one_thing_and_report_another":
        assert "audited" in world.event_types(job.id), "it was shown until then"


def test_events_tell_the_story_without_a_gap(world: World) -> None:
    job = world.sanitize_job()
    running = world.start(job.id, "work_until_told")
    wait_until(lambda: "state_saved" in world.event_types(job.id))
    world.let_go_on()
    running.join()
    types = world.event_types(job.id)
    assert types[:2] == ["created", "started"]
    assert types[-1] == "succeeded"
    assert world.job(job.id).event_seq == len(types)


def test_an_audit_job_succeeds_and_leaves_a_report(world: World) -> None:
    job = world.audit_job()
    assert world.runner().run(job.id) is JobState.SUCCEEDED
    assert set(world.artifacts(job.id)) == {*REPORTS, "statement.json", "SHA256SUMS"}
    with world.database.unit_of_work() as unit:
        rows = unit.artifacts.of_job(world.project_id, job.id)
    assert {row.name: row.media_type for row in rows if row.name in REPORTS} == REPORTS


def test_only_a_training_that_may_be_shared_out_can_talk_to_itself(world: World) -> None:
    notes = []
    for job, max_ranks in ((world.sanitize_job(), 2), (world.sanitize_job(), 1), (world.audit_job(), 2)):
        assert world.runner("talk_to_itself", max_ranks=max_ranks).run(job.id) is JobState.SUCCEEDED
        reported = [event.data["message"] for event in world.events(job.id) if event.type == "noted"]
        notes += [message for message in reported if message.endswith("are reused.")]
    allowed = (1, "silent") if sandbox.strongest_isolation() == "none" else (2, "heard")
    expected = (allowed, (1, "silent"), (0, "silent"))
    assert notes == [SAMPLES_REUSED(done=number, total=0, name=how) for number, how in expected]


def test_pairs_to_measure_retrieval_on_are_staged_beside_those_to_train_on(
    world: World, tmp_path: Path
) -> None:
    retrieval = world.ready_dataset(DatasetKind.PAIRS, b"pairs to look for")
    job = world.sanitize_job(retrieval_dataset_id=retrieval)
    assert world.runner().run(job.id) is JobState.SUCCEEDED
    left = world.artifacts(job.id)
    folder = tmp_path / "left"
    folder.mkdir()
    for name, content in left.items():
        (folder / name).write_bytes(content)
    assert [str(one) for one in verify(folder).findings] == []
    data = json.loads(left["statement.json"])["predicate"]["observed"]["data"]
    assert [(one["role"], one["id"]) for one in data] == [
        ("pairs", job.dataset_id),
        ("labelled", job.labelled_dataset_id),
        ("retrieval", retrieval),
    ]
    assert data[2]["files"][0]["digest"]["sha256"] == hashlib.sha256(b"pairs to look for").hexdigest()
    result = world.job(job.id).result
    assert result is not None
    assert result["after"]["retrieval"]["num_pairs"] == 150


def test_an_inspected_checkpoint_is_accepted_in_the_transaction_that_ends_the_job(world: World) -> None:
    checkpoint, job = world.checkpoint(b"CLIP weights of some kind")
    assert world.runner().run(job.id) is JobState.SUCCEEDED
    with world.database.unit_of_work() as unit:
        row = unit.checkpoints.get(world.project_id, checkpoint.id)
    assert row.state is CheckpointState.ACCEPTED
    assert row.sha256 == hashlib.sha256(b"CLIP weights of some kind").hexdigest()
    assert row.canonical_prefix is not None
    assert f"{row.canonical_prefix}model.safetensors" in world.keys(row.canonical_prefix)
    assert row.inspection is not None


def test_a_refused_checkpoint_is_rejected_with_its_reason_and_its_bytes_are_deleted(world: World) -> None:
    checkpoint, job = world.checkpoint(b"GIF89a")
    assert world.runner().run(job.id) is JobState.FAILED
    with world.database.unit_of_work() as unit:
        row = unit.checkpoints.get(world.project_id, checkpoint.id)
    assert row.state is CheckpointState.REJECTED
    assert row.error is not None
    assert row.error["code"] == "unknown_format"
    assert row.error["phase"] == "inspect"
    assert row.sha256 == hashlib.sha256(b"GIF89a").hexdigest(), "by the supervisor, from the bytes it staged"
    assert row.inspection is not None
    assert [one["issues"] for one in row.inspection["scanners"]] == [["dangerous: posix.system"]]
    assert world.job(job.id).attempts_used == 1
    assert row.upload_object_key is None
    assert world.keys(f"uploads/{world.project_id}/") == []
    assert world.keys(f"checkpoints/{world.project_id}/") == []


def test_a_validated_data_set_is_pinned_by_size_etag_and_digest(world: World) -> None:
    dataset, job = world.dataset(
        DatasetKind.LABELLED,
        {
            "a/0.tar": b"first",
            "1.tar": b"second",
            "notes.md": b"not ours",
            "classnames.txt": b"apple\npear\n",
        },
    )
    assert world.runner().run(job.id) is JobState.SUCCEEDED
    with world.database.unit_of_work() as unit:
        row = unit.datasets.get(world.project_id, dataset.id)
    assert row.state is DatasetState.READY
    assert row.files is not None
    pinned = {file["key"].removeprefix(f"data/{dataset.id}/"): file for file in row.files}
    assert set(pinned) == {"a/0.tar", "1.tar", "classnames.txt"}
    assert pinned["a/0.tar"]["sha256"] == hashlib.sha256(b"first").hexdigest()
    assert pinned["a/0.tar"]["size_bytes"] == 5
    assert pinned["a/0.tar"]["etag"]
    assert row.summary is not None
    assert row.summary["class_names"] == ["apple", "pear"]
    assert set(world.artifacts(job.id)) == {"dataset.json", "samples.json", "SHA256SUMS"}
    shown = DatasetSamplesOut.model_validate_json(world.artifacts(job.id)["samples.json"])
    assert (shown.seed, shown.samples[0].caption) == (7, "a red <b>square</b>")
    assert base64.b64decode(shown.samples[0].jpeg_base64).startswith(b"\xff\xd8\xff")


def test_a_data_set_whose_child_passes_a_picture_for_pixels_is_not_believed_at_all(world: World) -> None:
    _, job = world.dataset(DatasetKind.PAIRS, {"0.tar": b"x"})
    world.runner("pass_a_picture_for_pixels").run(job.id)
    assert world.events(job.id)[-1].data["error"]["code"] == "outputs_rejected"
    assert world.artifacts(job.id) == {}


def test_class_names_given_with_the_data_set_stand_in_the_folder(world: World) -> None:
    dataset, job = world.dataset(
        DatasetKind.LABELLED, {"0.tar": b"x"}, class_names=["digit 0", "naïve"], templates=["a {c}."]
    )
    assert world.runner().run(job.id) is JobState.SUCCEEDED
    with world.database.unit_of_work() as unit:
        row = unit.datasets.get(world.project_id, dataset.id)
    assert row.summary is not None
    assert row.summary["class_names"] == ["digit 0", "naïve"]


@pytest.mark.parametrize(
    ("uri", "code"),
    [
        ("s3://{bucket}/nothing/here/", "dataset_empty"),
        ("s3://elsewhere/data/", "dataset_uri_not_allowed"),
        ("s3://{bucket}/data/x-{{0..3}}.tar", "dataset_empty"),
    ],
)
def test_a_reference_to_nothing_is_rejected_with_its_reason(world: World, uri: str, code: str) -> None:
    dataset, job = world.dataset(DatasetKind.PAIRS, {}, uri=uri.format(bucket=world.store.bucket))
    assert world.runner().run(job.id) is JobState.FAILED
    with world.database.unit_of_work() as unit:
        row = unit.datasets.get(world.project_id, dataset.id)
    assert row.state is DatasetState.REJECTED
    assert row.error is not None
    assert row.error["code"] == code


def test_shards_that_changed_since_they_were_checked_stop_the_job(world: World) -> None:
    job = world.sanitize_job()
    dataset_id = job.dataset_id
    world.store.put_bytes(f"data/{dataset_id}/0.tar", b"other")
    assert world.runner().run(job.id) is JobState.FAILED
    row = world.job(job.id)
    assert row.error is not None
    assert row.error["code"] == "input_changed"
    assert row.error["phase"] == "stage"
    assert row.attempts_used == 1, "the same bytes would be refused again"


def test_a_checkpoint_whose_canonical_file_was_tampered_with_is_never_used(world: World) -> None:
    job = world.audit_job()
    with world.database.unit_of_work() as unit:
        checkpoint = unit.checkpoints.get(world.project_id, str(job.checkpoint_id))
    world.store.put_bytes(f"{checkpoint.canonical_prefix}model.safetensors", b"CLIP-weights")
    assert world.runner().run(job.id) is JobState.FAILED
    assert world.job(job.id).error is not None
    assert world.job(job.id).error["code"] == "input_changed"


def test_a_hint_for_a_job_that_does_not_exist_does_nothing(world: World) -> None:
    assert world.runner().run("job_00000000000000000000000000") is None


def test_a_second_hint_for_the_same_job_finds_nothing_to_do(world: World) -> None:
    job = world.audit_job()
    assert world.runner().run(job.id) is JobState.SUCCEEDED
    version = world.job(job.id).version
    assert world.runner().run(job.id) is None
    assert world.job(job.id).version == version
