"""The main job through the whole service: a checkpoint goes in by parts, its cleaned weights come out.

What comes out is measured again on our disk by the independent reference of the numerics tests. The same job
paused, resumed, killed and retried must end with the same weights: here in the full suite, daily by the real
library alone (tests/unit/sanitizer/test_running.py) and by the service with a stand-in for it
(tests/integration/worker/test_stopping.py, test_browser_journey.py).
"""

import json
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from safetensors.torch import load_file

from cleanclip.evidence.verification import verify
from cleanclip.models import Artifact, Job
from cleanclip.sync.client import Client
from cleanclip.vocabulary.report import Report, load_json
from lab.drills.processes import signal_all
from tests.end_to_end.live import PATIENCE_S, Live, wait_for_job, wait_until
from tests.end_to_end.subject import (
    ATTACKS,
    AUDIT,
    EPOCH,
    NUM_PAIRS,
    NUM_STEPS,
    SEED,
    TARGET,
    Subject,
    sha256,
)
from tests.fixtures import audited
from tests.numerics.reference import measure

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PHASES = ["stage", "baseline_audit", "finetune", "final_audit", "publish"]


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """A sanitize job that ran to its end undisturbed, as it was seen on the way, and its files here."""

    job: Job
    seen: Sequence[Job]
    artifacts: dict[str, Artifact]
    folder: Path

    @property
    def report(self) -> Report:
        return load_json((self.folder / "report.json").read_bytes())


@pytest.fixture(scope="module")
def cleaned(client: Client, subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> Cleaned:
    order = subject.order(output_layout="as_uploaded", metadata={"ticket": "ML-42"})
    seen: list[Job] = []
    job = client.jobs.wait(client.jobs.create(**order).id, on_progress=seen.append, timeout_s=PATIENCE_S)
    folder = tmp_path_factory.mktemp("cleaned")
    artifacts = {artifact.name: artifact for artifact in client.jobs.artifacts(job.id)}
    for artifact in artifacts.values():
        client.artifacts.download(artifact.id, folder)
    return Cleaned(job=job, seen=seen, artifacts=artifacts, folder=folder)


def weights_of(client: Client, job: Job) -> str:
    """Digest of the weights that a finished job left."""
    (found,) = [one for one in client.jobs.artifacts(job.id) if one.name == "model.safetensors"]
    return found.sha256


def in_training(job: Job) -> bool:
    return job.phase == "finetune" and (job.progress.step or 0) >= 3


def test_the_upload_went_straight_to_the_store_in_parts(subject: Subject) -> None:
    assert subject.sent.upload.num_parts >= 2
    assert not subject.sent.is_streamed
    assert subject.sent.sha256 == sha256(subject.path)


def test_the_checkpoint_is_accepted_for_what_it_is(subject: Subject) -> None:
    checkpoint = subject.checkpoint
    assert (checkpoint.state, checkpoint.layout) == ("accepted", "research")
    assert checkpoint.sha256 == sha256(subject.path)
    assert checkpoint.architecture_name == audited.ARCHITECTURE.name
    assert checkpoint.architecture == audited.ARCHITECTURE.to_config()
    assert checkpoint.error is None
    assert any("optimizer" in finding for finding in checkpoint.findings or ())


def test_the_data_sets_are_counted(subject: Subject) -> None:
    for dataset, num_samples in (
        (subject.pairs, NUM_PAIRS),
        (subject.labelled, audited.NUM_IMAGES),
        (subject.labelled_by_upload, audited.NUM_IMAGES),
    ):
        assert dataset.state == "ready"
        assert dataset.summary is not None
        assert (dataset.summary.num_samples, dataset.summary.num_skipped) == (num_samples, 0)
    for dataset in (subject.labelled, subject.labelled_by_upload):
        assert dataset.class_names == audited.CLASS_NAMES
        assert dataset.templates == audited.TEMPLATES


def test_the_job_was_seen_in_its_phases_with_progress_rate_and_time_left(cleaned: Cleaned) -> None:
    phases = [job.phase for job in cleaned.seen if job.phase is not None]
    assert list(dict.fromkeys(phases)) == [phase for phase in PHASES if phase in phases], "in their order"
    assert "finetune" in phases
    fractions = [job.progress.fraction for job in cleaned.seen if job.progress.fraction is not None]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    training = [job.progress for job in cleaned.seen if in_training(job)]
    assert training, "the training was seen while it went on"
    assert {one.total_steps for one in training} == {NUM_STEPS}
    assert any(one.rate and one.rate_unit == "pairs" and one.eta_s is not None for one in training)
    assert any(one.loss is not None for one in training)


def test_the_ended_job_has_every_phase_with_its_times_and_every_event_once(
    client: Client, cleaned: Cleaned
) -> None:
    job = cleaned.job
    assert (job.state, job.attempt, job.error) == ("succeeded", 1, None)
    assert job.metadata == {"ticket": "ML-42"}
    assert [(phase.name, phase.state) for phase in job.phases] == [(name, "succeeded") for name in PHASES]
    for phase in job.phases:
        assert phase.started_at is not None
        assert phase.finished_at is not None
        assert phase.started_at <= phase.finished_at
    events = list(client.jobs.all_events(job.id))
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    types = [event.type for event in events]
    assert types[0] == "created"
    assert types[-1] == "succeeded"
    assert types.count("started") == 1
    assert types.count("phase_finished") == len(PHASES)


def test_all_files_are_there_and_have_their_digests(cleaned: Cleaned, subject: Subject) -> None:
    assert set(cleaned.artifacts) == {
        "model.safetensors",
        "config.json",
        "report.json",
        "report.html",
        "report.md",
        "training_curve.json",
        "as_uploaded.pt",
        "statement.json",
        "SHA256SUMS",
    }
    for name, artifact in cleaned.artifacts.items():
        path = cleaned.folder / name
        assert (path.stat().st_size, sha256(path)) == (artifact.size_bytes, artifact.sha256)
    lines = (cleaned.folder / "SHA256SUMS").read_text().splitlines()
    sums = {name: digest for digest, name in (line.split("  ") for line in lines)}
    listed = {name: one.sha256 for name, one in cleaned.artifacts.items() if name != "SHA256SUMS"}
    found = verify(cleaned.folder, input_file=subject.path)
    assert [str(one) for one in found.findings] == [], "the real library's figures fit each other"
    assert (found.signature, found.input) == ("unsigned", True)
    assert sums == listed
    assert cleaned.job.result is not None
    assert set(cleaned.job.result.artifact_ids) == {one.id for one in cleaned.artifacts.values()}


def test_the_report_is_whole_and_the_job_shows_the_same_figures(client: Client, cleaned: Cleaned) -> None:
    report, result = cleaned.report, cleaned.job.result
    assert client.jobs.report(cleaned.job.id) == json.loads((cleaned.folder / "report.json").read_bytes())
    assert report.checkpoint.upload_sha256 is not None
    assert report.after is not None
    assert report.after.weights_sha256 == cleaned.artifacts["model.safetensors"].sha256
    assert (report.seed, report.audit.target) == (SEED, TARGET)
    assert report.training is not None
    assert report.training.num_steps == NUM_STEPS
    assert report.training.resumed_from_steps == ()
    curve = json.loads((cleaned.folder / "training_curve.json").read_text())
    assert [point["step"] for point in curve["points"]] == [point.step for point in report.training.curve]
    written = json.loads((cleaned.folder / "report.json").read_bytes())
    assert result is not None
    for audit in (written["before"], written["after"]):
        assert len(audit["ca_per_class"]) > 1
        audit["ca_per_class"] = []  # in the report alone
    for name in ("verdict", "before", "after", "ca_lost"):
        assert getattr(result, name) == written[name], name
    assert list(result.attack_changes) == written["attack_changes"] != []


def test_the_figures_are_those_of_the_independent_reference_to_the_last_image(
    subject: Subject, cleaned: Cleaned
) -> None:
    report = cleaned.report
    for folder, figures in ((subject.canonical, report.before), (cleaned.folder, report.after)):
        assert figures is not None
        for number, attack in enumerate(ATTACKS):
            theirs = measured_again(folder, attack)
            attacked = figures.attacks[number]
            assert attacked.name == attack["attack"]
            ours = {
                "ca": figures.ca,
                "ca_top5": figures.ca_top5,
                "untriggered_target_rate": figures.untriggered_target_rate,
                "asr": attacked.asr,
                "asr_including_target": attacked.asr_including_target,
                "pa": attacked.pa,
            }
            for name, share in ours.items():
                expected = theirs[name]
                assert (share.successes, share.n) == (expected["successes"], expected["n"]), name
                assert (share.low, share.high) == pytest.approx((expected["low"], expected["high"]))


def measured_again(folder: Path, attack: dict[str, Any]) -> dict[str, Any]:
    """The reference on the files in `folder`, with every option of the attack spelt out."""
    from cleanclip.vocabulary.recipe import AuditOptions, parse, to_json

    options = to_json(parse(AuditOptions, {"target": TARGET, "attacks": [attack]}))
    return measure(
        folder,
        images=audited.pictures(),
        labels=audited.labels(),
        class_names=audited.CLASS_NAMES,
        templates=audited.TEMPLATES,
        target=TARGET,
        attack=options["attacks"][0],
        seed=SEED,
        batch_size=AUDIT["batch_size"],
    )


def test_the_weights_changed_and_also_come_back_in_the_layout_that_was_uploaded(
    subject: Subject, cleaned: Cleaned
) -> None:
    after = load_file(cleaned.folder / "model.safetensors")
    before = load_file(subject.canonical / "model.safetensors")
    assert after.keys() == before.keys()
    assert any(not torch.equal(after[name], before[name]) for name in after)
    uploaded = torch.load(cleaned.folder / "as_uploaded.pt", weights_only=True)
    assert set(uploaded) == {"epoch", "name", "state_dict"}, "the optimizer state stays behind"
    assert uploaded["epoch"] == EPOCH
    original = torch.load(subject.path, weights_only=False)["state_dict"]
    assert list(uploaded["state_dict"]) == list(original), "names, prefix and order of the upload"
    for name, tensor in after.items():
        assert torch.equal(uploaded["state_dict"][f"module.{name}"], tensor)


def test_an_artifact_is_served_by_the_store_with_ranges(live: Live, cleaned: Cleaned) -> None:
    artifact = cleaned.artifacts["model.safetensors"]
    answer = live.ours.http.get(f"/v1/artifacts/{artifact.id}/content", follow_redirects=False)
    assert answer.status_code == 307
    part = httpx.get(answer.headers["location"], headers={"Range": "bytes=8-31"})
    assert part.status_code == 206
    assert part.content == (cleaned.folder / "model.safetensors").read_bytes()[8:32]
    assert "attachment" in part.headers["content-disposition"]


def test_an_audit_alone_on_an_uploaded_data_set_gives_the_same_figures_and_only_a_report(
    client: Client, audited_job: Job, cleaned: Cleaned
) -> None:
    assert {artifact.name for artifact in client.jobs.artifacts(audited_job.id)} == {
        "report.json",
        "report.html",
        "report.md",
        "statement.json",
        "SHA256SUMS",
    }
    assert [phase.name for phase in audited_job.phases] == ["stage", "baseline_audit", "publish"]
    assert audited_job.result is not None
    assert cleaned.job.result is not None
    assert audited_job.result.before == cleaned.job.result.before
    assert audited_job.result.after is None
    assert audited_job.recipe is None


@pytest.mark.full
def test_a_job_paused_in_training_lets_go_and_ends_with_the_same_weights_when_resumed(
    live: Live, client: Client, subject: Subject, cleaned: Cleaned
) -> None:
    job = client.jobs.create(**subject.order())
    wait_for_job(client, job.id, in_training, "training begins")
    asked = client.jobs.pause(job.id)
    assert asked.state == "paused" or asked.pause_requested
    wait_for_job(client, job.id, lambda job: job.state == "paused", "the state is saved")
    assert live.children() == []
    assert live.job_folders() == []
    saved = [event.data["step"] for event in client.jobs.all_events(job.id) if event.type == "state_saved"]
    assert 0 < saved[-1] < NUM_STEPS, "paused half-way"
    assert client.jobs.resume(job.id).state == "queued"
    ended = client.jobs.wait(job.id, timeout_s=PATIENCE_S)
    assert ended.attempt == 2
    assert weights_of(client, ended) == weights_of(client, cleaned.job)
    training = client.jobs.report(job.id)["training"]
    assert training["resumed_from_steps"] == [saved[-1]]
    types = [event.type for event in client.jobs.all_events(job.id)]
    assert [t for t in types if t in {"pause_requested", "paused", "resumed"}] == [
        "pause_requested",
        "paused",
        "resumed",
    ]


@pytest.mark.full
def test_a_job_whose_process_was_killed_fails_with_the_reason_and_a_retry_ends_with_the_same_weights(
    live: Live, client: Client, subject: Subject, cleaned: Cleaned
) -> None:
    job = client.jobs.create(**subject.order(max_attempts=1))
    wait_for_job(client, job.id, in_training, "training begins")
    wait_until(
        lambda: any(
            event.type == "state_saved" and event.data["step"] > 0 for event in client.jobs.all_events(job.id)
        ),
        "a state saved after an update",
    )
    signal_all(live.children(), signal.SIGKILL)
    failed = client.jobs.wait(job.id, check=False, timeout_s=PATIENCE_S)
    assert failed.state == "failed"
    assert failed.error is not None
    assert (failed.error.code, failed.error.phase) == ("child_killed", "finetune")
    assert failed.error.retryable
    assert failed.error.remedy
    assert client.jobs.artifacts(job.id) == ()
    assert client.jobs.retry(job.id).state == "queued"
    ended = client.jobs.wait(job.id, timeout_s=PATIENCE_S)
    assert weights_of(client, ended) == weights_of(client, cleaned.job)
    resumed_from = client.jobs.report(job.id)["training"]["resumed_from_steps"]
    assert resumed_from == [], "nothing of a process that ended so is used again"
    live.assert_same_processes()
