"""`cleanclip vet`: what is ordered and shown, and what an order is told to leave out."""

from pathlib import Path
from typing import Any

import pytest

from cleanclip.command import vet_view
from cleanclip.command.exit_codes import ExitCode
from tests.unit.cleanclip.service import DoneAtOnce, job, ran

RECALL = {"value": 0.9, "n": 50, "successes": 45, "low": 0.79, "high": 0.96}
FOUND: dict[str, Any] = {
    "set_aside": {"num": 5, "of": 100},
    "basis": "p_values",
    "num_calibration": 50,
    "scores": [{"name": "mismatch", "num_decisive": 5, "median": 0.1, "q99": 0.2, "high": 0.3}],
    "decided_by": {"mismatch": "anchor"},
    "not_computed": [{"name": "residual", "reason": "it needs a trusted anchor"}],
    "measured": [{"poison": "shuffled_captions", "recall": RECALL}],
    "what_it_says": "A sample that was set aside need not be poisoned.",
}


def service() -> DoneAtOnce:
    vetted = job(kind="vet", state="succeeded", audit=None, vet={"dataset_id": "ds_2"})
    return DoneAtOnce(vetted | {"result": {"vet": FOUND}})


def test_an_order_holds_what_was_said_and_leaves_the_rest_to_the_service(tmp_path: Path) -> None:
    (tmp_path / "vet.json").write_text('{"neighbours": 8, "share": 0.1}')
    ours = service()
    given = ("--pairs", "ds_2", "--trusted", "ds_3", "--anchor", "ckpt_9", "--share", "0.02")
    more = ("--score", "mismatch", "--options", str(tmp_path / "vet.json"), "--seed", "3")
    assert ran(ours, "vet", "--checkpoint", "ckpt_1", *given, *more) == ExitCode.OK
    assert ours.bodies == [
        {
            "kind": "vet",
            "checkpoint_id": "ckpt_1",
            "vet": {
                "dataset_id": "ds_2",
                "trusted_dataset_id": "ds_3",
                "anchor_checkpoint_id": "ckpt_9",
                "neighbours": 8,
                "share": 0.02,
                "scores": ["mismatch"],
            },
            "seed": 3,
        }
    ]


def test_what_was_found_is_shown_with_the_measured_recall(capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(service(), "vet", "--checkpoint", "ckpt_1", "--labelled", "ds_2", "--wait") == ExitCode.OK
    shown = capsys.readouterr().out
    assert "5 of 100 samples are set aside" in shown
    assert "90.0 %" in shown
    assert "residual, it needs a trusted anchor" in shown


def test_a_report_is_shown_like_a_result() -> None:
    score = {"name": "mismatch", "num_decisive": 5, "vetted": {"median": 0.1, "high": 0.3}}
    shown = vet_view.vet({**FOUND, "basis": "ranks", "scores": [score]})
    assert "ranks only" in shown
    assert "mismatch" in shown


@pytest.mark.parametrize(
    "given",
    [
        (),
        ("--pairs", "ds_2", "--labelled", "ds_3"),
        ("--pairs", "ds_2", "--share", "0"),
        ("--pairs", "ds_2", "--score", "none"),
    ],
)
def test_what_no_vetting_has_is_refused_before_anything_is_sent(given: tuple[str, ...]) -> None:
    ours = service()
    assert ran(ours, "vet", "--checkpoint", "ckpt_1", *given) == ExitCode.USAGE
    assert ours.bodies == []


def test_an_audit_names_the_vettings_whose_lists_it_leaves_out() -> None:
    ours = service()
    audit = ("audit", "--checkpoint", "ckpt_1", "--labelled", "ds_2", "--target", "banana")
    assert ran(ours, *audit, "--exclude", "job_7", "--exclude", "job_8") == ExitCode.OK
    assert ours.bodies[0]["exclude"] == ["job_7", "job_8"]
