"""What is not drawn: reports that cannot be read, and reports that contradict themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cleanclip.spec.progress import Noted, ProgressEvent
from cleanclip.spec.report import load_json
from sanitizer.__main__ import main
from sanitizer.cli import pages
from tests.fixtures.kept_reports import FOLDER, document, drawn

WORST = document("par")["classes_lost"][0]
ONE_CLASS = {"class_name": "cat", "accuracy": WORST["before"]}
LOST_NOTHING = {
    "after": WORST["before"],
    "lost": {"value": 0, "n": WORST["lost"]["n"], "lost": 0, "gained": 0, "low": -0.1, "high": 0.1},
}
PA_LOST = document("changes")["attack_changes"][0]["pa_lost"]
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
        (
            "cleaned",
            put("after", "attacks", 0, "asr", "value", to=0.001),
            "after.attacks[0].asr does not follow",
        ),
        ("cleaned", put("after", "ca", "low", to=0.95), "after.ca does not follow"),
        ("cleaned", put("before", "ca", "successes", to=4000), "before.ca does not follow"),
        ("cleaned", put("ca_lost", "value", to=0.0), "ca_lost does not follow"),
        ("cleaned", put("after", to=None), "after and ca_lost belong to a cleaning"),
        ("not_cleaned", put("verdict", "outcome", to="pass"), "verdict does not follow from the figures"),
        ("not_implanted", put("verdict", "attacks", 0, "outcome", to="pass"), "verdict does not follow"),
        ("cleaned", put("training", "curve", 3, "loss", to=float("nan")), "training.curve.3.loss is"),
        ("cleaned", put("training", "curve", 3, "step", to=1), "training.curve does not go forward"),
        ("cleaned", put("training", "curve", 3, "step", to=10**400), "This is no report that"),
        ("cleaned", put("before", "attacks", to=[]), "before.attacks are not as many"),
        ("cleaned", put("after", "attacks", 0, "trigger_sha256", to="0"), "no second measurement"),
        ("cleaned", put("schema_version", to=2), "Its schema is newer than this program"),
        ("cleaned", put("seed", to="many"), "'seed'"),
        ("cleaned", put("audit", "gate", to=7), "'audit.gate'"),
        ("par", put("classes_lost", to=[WORST] * 11), "classes_lost holds more than 10 classes"),
        ("par", put("classes_lost", to=[WORST]), "classes_lost leaves out classes that lost"),
        ("par", put("classes_lost", to=[WORST | LOST_NOTHING]), "classes_lost[0] lost nothing"),
        (
            "cleaned",
            put("before", "attacks", 0, "target", to="fig"),
            "before.attacks are not of the targets that were ordered",
        ),
        (
            "audit",
            put("audit", "attacks", 0, "target", to="fig"),
            "before.attacks are not of the targets that were ordered",
        ),
        (
            "cleaned",
            put(
                "after", "further_targets", to=[{"target": "fig", "untriggered_target_rate": WORST["after"]}]
            ),
            "after.further_targets are not those of its attacks",
        ),
        ("audit", put("before", "ca_per_class", to=[ONE_CLASS]), "before.ca_per_class counts other pictures"),
        (
            "audit",
            put("before", "ca_per_class", to=[{**ONE_CLASS, "accuracy": WORST["before"] | {"n": 0}}]),
            "before.ca_per_class does not follow",
        ),
        (
            "cleaned",
            put(
                "before", "ca_per_class", to=[{**ONE_CLASS, "accuracy": document("cleaned")["before"]["ca"]}]
            ),
            "after.ca_per_class is not of the classes",
        ),
        (
            "changes",
            put("attack_changes", 0, "asr_lost", "gained", to=1),
            "attack_changes[0].asr_lost does not",
        ),
        (
            "changes",
            put("attack_changes", 1, "pa_lost", "low", to=0.9),
            "attack_changes[1].pa_lost lies outside",
        ),
        ("changes", put("attack_changes", 0, "attack", to="other"), "attack_changes are not of the attacks"),
        (
            "changes",
            put("attack_changes", to=document("changes")["attack_changes"][:1]),
            "attack_changes are not of the",
        ),
        (
            "changes",
            put("attack_changes", 0, "asr_lost", to=PA_LOST),
            "attack_changes[0].asr_lost does not lead from the figures before",
        ),
        (
            "audit",
            put("attack_changes", to=document("changes")["attack_changes"]),
            "attack_changes belong to a cleaning",
        ),
        ("audit", put("classes_lost", to=[WORST]), "classes_lost belongs to a cleaning"),
        ("par", put("after", "attacks", 0, "asr_top_k", to=[]), "are not of the same k throughout"),
        ("par", put("after", "untriggered_target_top_k", to=[]), "are not of the same k throughout"),
        ("par", put("data", 1, "num_classes", to=10), "a k out of order, under 2 or not under the number"),
        (
            "par",
            put("training", "curve", 3, "distance_text", to=77),
            "training.curve holds a distance that cannot be",
        ),
        (
            "par",
            put("training", "curve", 3, "distance_image", to=-0.1),
            "training.curve holds a distance that cannot be",
        ),
        (
            "retrieval",
            put("after", "retrieval", "attacks", 0, "triggered", "value", to=0.5),
            "after.retrieval does not follow",
        ),
        (
            "retrieval",
            put("before", "retrieval", "image_to_text", 1, "share", "successes", to=7),
            "before.retrieval does not follow",
        ),
        ("retrieval", put("after", "retrieval", to=None), "was not measured both before and after"),
        ("retrieval", put("retrieval_lost", to=None), "retrieval_lost belongs to retrieval before"),
        ("cleaned", put("retrieval_lost", to=NOTHING_LOST), "retrieval_lost belongs to retrieval before"),
        ("retrieval", put("retrieval_lost", to=NOTHING_LOST), "retrieval_lost is not of the same k"),
        ("retrieval", put("after", "retrieval", "num_images", to=2999), "no second measurement"),
        ("retrieval", put("after", "retrieval", "targets", to=[]), "no second measurement"),
        ("retrieval", put("before", "retrieval", "num_pairs", to=5), "counts pairs that cannot be"),
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
        written["before"]["ca"]["value"] = 0.5
    events: list[ProgressEvent] = []
    pages.write_pages(load_json(json.dumps(written)), tmp_path, events.append)
    (event,) = events
    assert isinstance(event, Noted)
    assert event.level == "warning"
    assert "report.json is whole" in event.message
    assert list(tmp_path.iterdir()) == []
