"""`cleanclip scan`: what is ordered, what is shown, and the status of a found trigger."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from cleanclip.command import scan_view
from cleanclip.command.exit_codes import ExitCode
from tests.unit.cleanclip.service import DoneAtOnce, job, ran

SHARE = {"value": 0.94, "n": 170, "successes": 160, "low": 0.9, "high": 0.97}
FOUND: dict[str, Any] = {
    "verdict": {"outcome": "fail", "sentence": "This model stands out."},
    "p_value": 0.05,
    "null": {"name": "ours", "num_models": 19},
    "judgements": [{"detector": "collapse", "what": "patch:0.25", "rank": 1, "of": 20, "z": 12.5}],
    "hypotheses": [
        {
            **{"family": "patch:0.25", "target": "banana", "words": ["fruit"], "asr": SHARE, "pa": SHARE},
            "null_figures": {"asr": 0.21, "pa": 0.6, "num_models": 19, "dose": []},
        }
    ],
}


def service() -> DoneAtOnce:
    scanned = job(kind="scan", state="succeeded", audit=None, scan={"dataset_id": "ds_2"})
    return DoneAtOnce(scanned | {"result": {"outcome": "fail", "scan": FOUND}})


def run(ours: DoneAtOnce, *arguments: str, command: str = "scan") -> int:
    return ran(ours, command, "--checkpoint", "ckpt_1", "--labelled", "ds_2", *arguments)


def test_an_order_holds_what_was_said_and_leaves_the_rest_to_the_service(tmp_path: Path) -> None:
    names, options = tmp_path / "more.txt", tmp_path / "scan.json"
    names.write_text("apple\n\n old house \n")
    options.write_text('{"detectors": ["collapse"]}')
    ours = service()
    given = ("--classes", str(names), "--options", str(options), "--null", "ours", "--seed", "3")
    assert run(ours, *given) == ExitCode.OK
    assert ours.bodies == [
        {
            "kind": "scan",
            "checkpoint_id": "ckpt_1",
            "scan": {
                "dataset_id": "ds_2",
                "detectors": ["collapse"],
                "further_classes": ["apple", "old house"],
                "null": "ours",
            },
            "seed": 3,
        }
    ]


def test_an_anchor_adds_the_detector_that_it_is_for(tmp_path: Path) -> None:
    given, named = ("--anchor", "ckpt_8"), {"dataset_id": "ds_2", "anchor_checkpoint_id": "ckpt_8"}
    ours = service()
    assert run(ours, *given) == ExitCode.OK
    assert ours.bodies[0]["scan"] == named | {"detectors": ["collapse", "edits", "residual"]}
    options = tmp_path / "scan.json"
    options.write_text('{"detectors": ["edits"]}')
    assert run(ours, *given, "--options", str(options)) == ExitCode.OK
    assert ours.bodies[1]["scan"] == named | {"detectors": ["edits"]}


def test_a_null_is_shown_by_its_name_and_by_its_id(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {
            **{"id": f"null_{number}", "name": name, "about": "", "num_models": 19, "smallest_p": 0.05},
            **{"num_classes": 3, "class_names_sha256": "1" * 64, "images_sha256": "2" * 64, "seed": 0},
            **{"sha256": "3" * 64, "size_bytes": 1, "created_at": "2026-11-28T00:00:00Z"},
            **{"built_at": "2026-11-28T00:00:00Z", "options": {}, "architecture": {}},
        }
        for number, name in enumerate(("small", "large"))
    ]

    def answer(request: httpx.Request) -> httpx.Response:
        """One null a page."""
        if (last := request.url.path.rpartition("/")[2]) == "nulls":
            number = 0 if "after" not in request.url.params else 1
            page = {"data": [rows[number]], "has_more": number == 0, "last_id": rows[number]["id"]}
            return httpx.Response(200, json=page)
        found = [row for row in rows if row["id"] == last]
        problem = {"code": "null_not_found", "title": "", "status": 404, "detail": "There is no null."}
        return httpx.Response(200, json=found[0]) if found else httpx.Response(404, json=problem)

    for null, expected in (("large", "null_1"), ("null_0", "null_0"), ("other", None)):
        status = ran(httpx.MockTransport(answer), "nulls", "show", null, "--json")
        assert status == (ExitCode.OK if expected else ExitCode.NOT_FOUND), null
        shown = capsys.readouterr().out
        assert expected is None or json.loads(shown)["id"] == expected


def test_a_found_trigger_is_shown_and_shuts_the_gate(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(service(), "--wait") == ExitCode.OK
    shown = capsys.readouterr().out
    assert "This model stands out." in shown
    assert "p = 0.05, by the null 'ours' of 19 models" in shown
    assert "patch:0.25" in shown
    assert run(service(), "--fail-on", "fail") == ExitCode.GATE_SHUT


@pytest.mark.parametrize("options", ['{"detectors": []}', '{"num_images": 3}', '{"restarts": 3}'])
def test_options_that_no_scan_has_are_refused_before_anything_is_sent(tmp_path: Path, options: str) -> None:
    (tmp_path / "scan.json").write_text(options)
    ours = service()
    assert run(ours, "--options", str(tmp_path / "scan.json")) == ExitCode.USAGE
    assert ours.bodies == []


def test_a_report_is_shown_like_a_result_and_without_a_null_says_so() -> None:
    trigger = {"family": {"family": "blend", "budget": 0.1}}
    reported = {**FOUND, "p_value": None, "hypotheses": [{"trigger": trigger, "words": [{"word": "tree"}]}]}
    shown = scan_view.scan(reported)
    assert "no p-value" in shown
    assert "blend:0.1" in shown
    assert "tree" in shown


def test_an_audit_of_what_a_scan_found_leaves_the_target_to_the_service() -> None:
    ours = service()
    assert run(ours, "--attacks-from-scan", "job_1", command="audit") == ExitCode.OK
    assert ours.bodies[0]["audit"] == {"dataset_id": "ds_2", "attacks_from_scan": "job_1"}
    given = ("--attacks-from-scan", "job_1", "--target", "apple", "--suite", "paper")
    assert run(ours, *given, command="audit") == ExitCode.OK
    assert ours.bodies[1]["audit"]["target"] == "apple"
    assert ours.bodies[1]["audit"]["suite"] == "paper"
    assert run(ours, command="audit") == ExitCode.USAGE


def test_a_cleaning_that_names_nothing_leaves_the_scan_to_the_service(tmp_path: Path) -> None:
    (tmp_path / "scan.json").write_text('{"significance": 0.01, "null": "ours"}')
    ours = service()
    cleaning = ("--pairs", "ds_1", "--recipe", "defaults")
    assert run(ours, *cleaning, command="sanitize") == ExitCode.OK
    assert ours.bodies[0]["audit"] == {"dataset_id": "ds_2"}
    assert "scan" not in ours.bodies[0]
    assert run(ours, *cleaning, "--scan", "--target", "apple", command="sanitize") == ExitCode.OK
    assert ours.bodies[1]["scan"] is True
    given = ("--scan-options", str(tmp_path / "scan.json"))
    assert run(ours, *cleaning, *given, command="sanitize") == ExitCode.OK
    assert ours.bodies[2]["scan"] == {"significance": 0.01, "null": "ours"}
    assert run(ours, *cleaning, *given, "--no-scan", command="sanitize") == ExitCode.USAGE
    assert run(ours, *cleaning, "--no-scan", command="sanitize") == ExitCode.USAGE
    assert run(ours, *cleaning, "--attack", "badnet", command="sanitize") == ExitCode.USAGE
    assert len(ours.bodies) == 3


def test_options_of_a_first_scan_are_held_to_their_bounds(tmp_path: Path) -> None:
    (tmp_path / "scan.json").write_text('{"detectors": []}')
    ours = service()
    given = ("--pairs", "ds_1", "--recipe", "defaults", "--scan-options", str(tmp_path / "scan.json"))
    assert run(ours, *given, command="sanitize") == ExitCode.USAGE
    assert ours.bodies == []
