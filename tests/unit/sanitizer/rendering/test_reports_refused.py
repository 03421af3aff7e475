"""What is not drawn: reports that cannot be read, and reports that contradict themselves."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cleanclip.vocabulary.progress import Announced, ProgressEvent
from cleanclip.vocabulary.report import load_json
from sanitizer.__main__ import main
from sanitizer.cli import pages
from tests.fixtures.kept_reports import FOLDER, document, drawn

WORST = document("par")["classes_lost"][0]
ONE_CLASS = {"class_name": "cat", "accuracy": WORST["before"]}
PA_LOST = document("cleaned")["attack_changes"][0]["pa_lost"]
NOTHING_LOST: dict[str, Any] = {"image_to_text": [], "text_to_image": []}
KEPT = str(FOLDER / "audit.json")


def put(*path: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(written: Any) -> None:
        for key in path[:-1]:
            written = written[key]
        written[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("cleaned", put("after", to=None), "a cleaning needs both the audit after it and the paired loss"),
        ("not_cleaned", put("verdict", "outcome", to="pass"), "verdict.outcome"),
        (
            "inconclusive",
            put("verdict", "attacks", 0, "outcome", to="pass"),
            "verdict.attacks[0].outcome",
        ),
        ("cleaned", put("training", "curve", 3, "loss", to=float("nan")), "training.curve.3.loss is"),
        (
            "cleaned",
            put("training", "curve", 3, "step", to=1),
            "training.curve[3].step does not come after the point before",
        ),
        (
            "cleaned",
            put("training", "curve", 3, "step", to=10**400),
            "its top: training.curve.3.step is a whole number too large for JSON",
        ),
        (
            "cleaned",
            put("before", "attacks", to=[]),
            "the audits before and after are not of the same triggers",
        ),
        (
            "cleaned",
            put("after", "attacks", 0, "trigger_sha256", to="0" * 64),
            "the audits before and after are not of the same triggers",
        ),
        ("cleaned", put("schema_version", to=2), "Its schema is newer than this program"),
        ("cleaned", put("seed", to="many"), "seed: Input should be a valid integer"),
        ("cleaned", put("audit", "gate", to=7), "audit.gate: Input should be less than 1"),
        ("par", put("classes_lost", to=[WORST] * 11), "classes_lost are 11, more than 10"),
        (
            "par",
            put("classes_lost", to=[WORST]),
            "classes_lost leaves out classes: 100 more images were lost than it lists",
        ),
        (
            "cleaned",
            put("before", "attacks", 0, "target", to="fig"),
            "before.attacks[0].target is not the one that was ordered",
        ),
        (
            "audit",
            put("audit", "attacks", 0, "target", to="fig"),
            "before.attacks[0].target is not the one that was ordered",
        ),
        (
            "cleaned",
            put("after", "further_targets", to=[document("several_targets")["after"]["further_targets"][0]]),
            "after.further_targets are not those of its attacks",
        ),
        (
            "audit",
            put("before", "ca_per_class", to=[ONE_CLASS]),
            "before.ca_per_class has 0 images for a target that has another number",
        ),
        (
            "cleaned",
            put(
                "before", "ca_per_class", to=[{**ONE_CLASS, "accuracy": document("cleaned")["before"]["ca"]}]
            ),
            "before.ca_per_class has 0 images for a target that has another number",
        ),
        ("cleaned", put("attack_changes", 0, "attack", to="other"), "attack_changes are not of the attacks"),
        (
            "cleaned",
            put("attack_changes", to=document("cleaned")["attack_changes"][:1]),
            "attack_changes are not of the",
        ),
        (
            "cleaned",
            put("attack_changes", 0, "asr_lost", to=PA_LOST),
            "attack_changes[0].asr_lost does not lead from the counts before",
        ),
        (
            "audit",
            put("attack_changes", to=document("cleaned")["attack_changes"]),
            "attack_changes belong to an audit after cleaning",
        ),
        ("audit", put("classes_lost", to=[WORST]), "classes_lost belongs to an audit after cleaning"),
        (
            "par",
            put("after", "attacks", 0, "asr_top_k", to=[]),
            "after.attacks[0].asr_top_k is not that of the rest",
        ),
        (
            "par",
            put("after", "untriggered_target_top_k", to=[]),
            "after.attacks[0].asr_top_k is not that of the rest",
        ),
        (
            "par",
            put("data", 1, "num_classes", to=10),
            "before.untriggered_target_top_k goes up to 10, of 10 classes",
        ),
        (
            "par",
            put("training", "curve", 3, "distance_text", to=77),
            "training.curve[3].distance_text is 77, out of 0 to 4",
        ),
        (
            "par",
            put("training", "curve", 3, "distance_image", to=-0.1),
            "training.curve[3].distance_image is -0.1, out of 0 to 4",
        ),
        (
            "retrieval",
            put("after", "retrieval", to=None),
            "after.retrieval.image_to_text[0].share is there before or after alone",
        ),
        ("retrieval", put("retrieval_lost", to=None), "retrieval_lost is missing"),
        (
            "cleaned",
            put("retrieval_lost", to=NOTHING_LOST),
            "retrieval_lost belongs to a cleaning with a retrieval set",
        ),
        (
            "retrieval",
            put("retrieval_lost", to=NOTHING_LOST),
            "retrieval_lost.image_to_text is not that of the rest",
        ),
        (
            "retrieval",
            put("after", "retrieval", "num_images", to=2999),
            "after.retrieval.image_to_text[0].share.n is 3000, not 2999",
        ),
        (
            "retrieval",
            put("after", "retrieval", "targets", to=[]),
            "after.retrieval.targets[0].untriggered is there before or after alone",
        ),
        (
            "retrieval",
            put("before", "retrieval", "num_pairs", to=5),
            "before.retrieval.num_pairs is 5, not 3000",
        ),
        (
            "retrieval",
            put("retrieval_lost", "text_to_image", 0, "lost", "lost", to=-1),
            "greater than or equal to 0",
        ),
        ("par", put("training", "curve", 3, "distance_image", to="far"), "training.curve.3.distance_image"),
    ],
)
def test_a_report_that_contradicts_itself_is_refused_with_the_place(
    name: str, change: Callable[[Any], None], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = document(name)
    change(written)
    (tmp_path / "report.json").write_text(json.dumps(written))
    assert main(["report", str(tmp_path / "report.json")]) == 3
    assert words in " ".join(capsys.readouterr().err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b"null", b"{}" * (5 * 2**20)]
)
def test_what_is_no_report_is_refused(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.json").write_bytes(content)
    assert main(["report", str(tmp_path / "x.json"), "--html", str(tmp_path / "x.html")]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "report_" in captured.err
    assert "Traceback" not in captured.err


def test_a_place_without_a_report_is_refused(tmp_path: Path) -> None:
    assert main(["report", str(tmp_path / "nowhere.json")]) == 3
    assert main(["report", str(tmp_path)]) == 3
    assert main(["report", "/dev/zero"]) == 3


def test_without_options_both_pages_lie_beside_the_report(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_bytes((FOLDER / "audit.json").read_bytes())
    assert main(["report", str(tmp_path / "report.json")]) == 0
    assert main(["report", str(tmp_path / "report.json")]) == 0, "the same bytes again are no conflict"
    assert ((tmp_path / "report.html").read_text(), (tmp_path / "report.md").read_text()) == drawn("audit")
    (tmp_path / "report.md").write_text("signed by somebody")
    assert main(["report", str(tmp_path / "report.json")]) == 2
    assert (tmp_path / "report.md").read_text() == "signed by somebody"


def test_one_page_goes_to_stdout_and_two_do_not_fit(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["report", KEPT, "--markdown", "-"]) == 0
    assert capsys.readouterr().out == drawn("audit")[1]
    assert main(["report", KEPT, "--markdown", "-", "--html", "-"]) == 2
    assert main(["report", KEPT, "--html", str(tmp_path / "no" / "folder")]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("reason", ["the drawing libraries are missing", "the report contradicts itself"])
def test_a_page_that_cannot_be_drawn_costs_a_warning_and_no_job(
    reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = document("audit")
    if reason == "the drawing libraries are missing":
        monkeypatch.setattr(pages, "DRAWS", "sanitizer.rendering.not_installed")
    else:
        written["before"]["attacks"][0]["target"] = "fig"
    events: list[ProgressEvent] = []
    pages.write_pages(load_json(json.dumps(written)), tmp_path, events.append)
    (event,) = events
    assert isinstance(event, Announced)
    assert event.level == "warning"
    assert "report.json is complete" in event.message
    assert list(tmp_path.iterdir()) == []
