"""What a hostile child once got onto a row is left out where it cannot be shown; no list fails for it."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from app.db.models.assets import Checkpoint, Dataset
from app.db.models.job import Job
from app.db.repositories.verdicts import FoundVerdicts
from app.db.session import storable_json
from app.domain.states import CheckpointState, DatasetKind, DatasetState, JobKind, JobState
from app.schemas.checkpoints import CheckpointOut
from app.schemas.datasets import DatasetOut
from app.schemas.jobs import JobOut
from app.web.jobs.comparison import Column, Inputs, compare
from app.web.jobs.figures import attack_lines, result_of
from app.web.jobs.job_result import kept_figures
from cleanclip.face.plots import live_loss
from tests.fixtures.kept_reports import document

NOW = datetime.now(UTC)


def kept() -> dict[str, Any]:
    """A job's result as its row holds it."""
    report = document("cleaned")
    names = ("verdict", "before", "after", "ca_lost")
    result: dict[str, Any] = {name: report.get(name) for name in names}
    for side in ("before", "after"):
        result[side].pop("ca_per_class", None)
    return result | {"signature": {"state": "unsigned"}, "artifact_ids": ["art_1"]}


def job(result: dict[str, Any] | None = None, **progress: Any) -> Job:
    return Job(
        id="job_1",
        kind=JobKind.SANITIZE,
        state=JobState.SUCCEEDED,
        checkpoint_id="ckpt_" + "0" * 26,
        labelled_dataset_id="ds_" + "0" * 26,
        phases=[],
        progress=json.loads(storable_json(progress)),
        spec={
            "recipe": {"method": "cleanclip"},
            "audit": {"target": "banana"},
            "policy": {},
            "policy_source": {"given": "default", "sha256": "0" * 64},
        },
        seed=0,
        attempt=1,
        attempts_used=1,
        max_attempts=3,
        job_metadata={},
        created_at=NOW,
        updated_at=NOW,
        version=1,
        result=json.loads(storable_json(result)),
    )


def shown_everywhere(row: Job) -> JobOut:
    """In a list, on a page, and beside another job."""
    result = result_of(row)
    assert result is not None
    attack_lines(result)
    kept_figures(row.result)
    inputs = Inputs(data={}, weights_sha256=None, code_version=None)
    column = Column(job=row, filename=None, result=result, inputs=inputs)
    other = Column(job=job(kept()), filename=None, result=result_of(job(kept())), inputs=inputs)
    assert compare([column, other]).num_images
    out = JobOut.of(row)
    assert len(out.model_dump_json()) < 100_000
    return out


def test_a_sound_result_is_shown_as_it_is() -> None:
    out = shown_everywhere(job(kept()))
    assert out.result is not None
    assert out.result.verdict is not None
    assert out.result.before is not None
    assert len(out.result.before.attacks) == len(kept()["before"]["attacks"])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e308, -1, "x", None, [], {}])
def test_a_figure_that_is_none_takes_its_audit_out_and_nothing_else(value: Any) -> None:
    result = kept()
    result["before"]["ca"]["successes"] = value
    out = shown_everywhere(job(result))
    assert out.result is not None
    assert out.result.before is None
    assert out.result.after is not None
    assert out.result.verdict is not None
    assert out.result.artifact_ids == ["art_1"]


def test_a_sentence_without_end_is_in_no_list() -> None:
    result = kept()
    result["verdict"]["reason"] = "x" * 7_500_000
    out = shown_everywhere(job(result))
    assert out.result is not None
    assert out.result.verdict is None


@pytest.mark.parametrize(
    "odd", [{"verdict": 5}, {"attack_changes": 5}, {"signature": []}, {"artifact_ids": {}}]
)
def test_odd_parts_of_a_result_are_left_out(odd: dict[str, Any]) -> None:
    assert shown_everywhere(job(kept() | odd)).result is not None


def test_odd_progress_is_not_known_rather_than_an_error() -> None:
    odd = {
        "eta_s": -1e308,
        "step": -5,
        "rate": float("nan"),
        "fraction": 7.0,
        "loss": 1e308,
        "total_steps": [],
    }
    progress = shown_everywhere(job(kept(), message="embedding", **odd)).progress
    assert progress.message == "embedding"
    assert {getattr(progress, name) for name in odd} == {None}


def test_a_curve_with_what_is_no_number_is_drawn_without_it() -> None:
    row = job(loss_curve=[[1, 2.0], [2, float("inf")], [None, 1.0], [3, 1.5]])
    plot = live_loss(row.progress["loss_curve"], None)
    assert plot
    assert "1.5 at step 3" in plot
    long = live_loss([[step, 1.0] for step in range(100_000)], None)
    assert 0 < len(long) < 10_000


def test_an_odd_inspection_and_odd_counts_fail_no_list() -> None:
    checkpoint = Checkpoint(
        id="ckpt_1",
        upload_id="upl_1",
        state=CheckpointState.ACCEPTED,
        filename="x.pt",
        size_bytes=1,
        declared={},
        inspection={"layout": "open_clip", "num_parameters": None, "findings": 5, "scanners": [{"name": 1}]},
        error={"code": "x", "message": "m", "remedy": "r", "where": 5, "phase": [], "retryable": {}},
        created_at=NOW,
        updated_at=NOW,
    )
    shown = CheckpointOut.of(checkpoint, FoundVerdicts())
    assert (shown.layout, shown.findings, shown.scanners) == ("open_clip", None, None)
    assert shown.error is not None
    assert shown.error.where is None
    dataset = Dataset(
        id="ds_1",
        kind=DatasetKind.LABELLED,
        state=DatasetState.READY,
        max_skipped_share=0.01,
        summary={"sha256": "0" * 64, "num_samples": None, "class_names": 7},
        created_at=NOW,
        updated_at=NOW,
    )
    assert DatasetOut.of(dataset).summary is None
