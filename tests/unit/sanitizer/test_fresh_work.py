"""What a fresh child makes of checked files: pages from a report, and weights in the uploaded layout."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cleanclip.vocabulary import jobspec
from cleanclip.vocabulary.errors import CheckpointRejected, ReportRejected
from cleanclip.vocabulary.jobspec import REPORT_HTML_HEAD, GiveBackSpec, PagesSpec
from cleanclip.vocabulary.progress import Noted, ProgressEvent, ignore, never_stop
from cleanclip.vocabulary.recipe import DeclaredOptions
from sanitizer.work import drawing_pages, giving_back
from tests.fixtures.kept_reports import document, drawn


def folder_of(tmp_path: Path, path: str, content: bytes) -> Path:
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_bytes(content)
    (tmp_path / jobspec.OUTPUTS_PATH).mkdir(exist_ok=True)
    return tmp_path


def test_pages_are_those_that_anybody_draws_from_the_report(tmp_path: Path) -> None:
    report = json.dumps(document("audit")).encode()
    drawing_pages.do(PagesSpec(), folder_of(tmp_path, jobspec.REPORT_PATH, report), ignore, never_stop)
    written = {path.name: path.read_text() for path in (tmp_path / "outputs").iterdir()}
    assert written == dict(zip(("report.html", "report.md"), drawn("audit"), strict=True))
    assert written["report.html"].startswith(REPORT_HTML_HEAD)


def test_a_tag_in_a_report_is_no_tag_of_the_page(tmp_path: Path) -> None:
    tag = "<meta http-equiv=refresh content='0; url=http://127.0.0.1/'><script>1</script>"
    report = document("audit") | {"origin": dict.fromkeys(("filename", "job_id", "project"), tag)}
    reported = {
        "ordered": tag,
        "commit": tag,
        "path": tag,
        "size_bytes": 1,
        "sha256": "1" * 64,
        "fetched_at": tag,
    }
    report["origin"] |= {"job_name": tag, "requested_by": tag, "source": reported}
    content = json.dumps(report).encode()
    drawing_pages.do(PagesSpec(), folder_of(tmp_path, jobspec.REPORT_PATH, content), ignore, never_stop)
    page = (tmp_path / "outputs/report.html").read_text()
    assert "&lt;meta http-equiv=refresh" in page
    assert page.count("http-equiv") > REPORT_HTML_HEAD.count("http-equiv")
    assert "<meta http-equiv=refresh" not in page
    assert "<script" not in page


def test_a_report_that_contradicts_itself_is_not_drawn(tmp_path: Path) -> None:
    report = document("audit")
    report["before"]["ca"]["value"] = 1.0
    with pytest.raises(ReportRejected):
        drawing_pages.do(
            PagesSpec(),
            folder_of(tmp_path, jobspec.REPORT_PATH, json.dumps(report).encode()),
            ignore,
            never_stop,
        )
    assert list((tmp_path / "outputs").iterdir()) == []


def test_weights_come_back_tensor_by_tensor_and_what_is_left_out_is_noted(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from sanitizer.pipeline.inspecting import inspect
    from tests.fixtures.checkpoints import write_research

    upload = tmp_path / "epoch.pt"
    write_research(upload)
    declared = DeclaredOptions(num_heads_text=2, num_heads_vision=2)
    inspect(upload, tmp_path / jobspec.CHECKPOINT_PATH, declared=declared, filename="epoch.pt")
    (tmp_path / jobspec.OUTPUTS_PATH).mkdir()
    events: list[ProgressEvent] = []
    giving_back.do(GiveBackSpec(), tmp_path, events.append, never_stop)
    came_in = torch.load(upload, weights_only=False)["state_dict"]  # of our own making
    back = torch.load(tmp_path / "outputs/as_uploaded.pt", weights_only=True)["state_dict"]
    assert list(back) == list(came_in)
    assert all(torch.equal(back[name], came_in[name]) for name in came_in)
    noted = [event for event in events if isinstance(event, Noted)]
    assert [event.level for event in noted] == ["warning", "warning"]
    assert ["optimizer" in noted[0].message, "not used" in noted[1].message] == [True, True], noted


def swapped(upload: dict[str, Any]) -> None:
    first, second = (o for o in upload["origins"] if o["name"] in ("ln_final.weight", "ln_final.bias"))
    first["source"], second["source"] = second["source"], first["source"]


def another_model(upload: dict[str, Any]) -> None:
    """Every matrix is a constant."""
    for origin in upload["origins"]:
        if len(origin["shape"]) == 2:
            del origin["source"]
            origin.update(fill="arange")


def rounded(upload: dict[str, Any]) -> None:
    for origin in upload["origins"]:
        if origin["dtype"] == "float32":
            origin["dtype"] = "float16"


def with_a_state_dict_beside(upload: dict[str, Any]) -> None:
    upload.update(weights_key="model", extras={"state_dict": "open_clip would take this"})


def unread_by_anybody(upload: dict[str, Any]) -> None:
    upload.update(weights_key="ema")


@pytest.mark.parametrize(
    ("lie", "code"),
    [
        (swapped, "not_the_same_weights"),
        (another_model, "not_the_same_weights"),
        (rounded, "not_the_same_weights"),
        (with_a_state_dict_beside, "ambiguous_weights"),
        (unread_by_anybody, "not_a_state_dict"),
    ],
)
def test_another_model_than_the_one_that_was_measured_is_not_given_back(
    lie: Callable[[dict[str, Any]], None], code: str, tmp_path: Path
) -> None:
    """Where an inspection was taken over, it says which tensor of the file is made of which."""
    pytest.importorskip("torch")
    from sanitizer.pipeline.inspecting import inspect
    from tests.fixtures.checkpoints import write_research

    upload, canonical = tmp_path / "epoch.pt", tmp_path / jobspec.CHECKPOINT_PATH
    write_research(upload)
    declared = DeclaredOptions(num_heads_text=2, num_heads_vision=2)
    inspect(upload, canonical, declared=declared, filename="epoch.pt")
    config = json.loads((canonical / "config.json").read_text())
    lie(config["checkpoint"]["upload"])
    (canonical / "config.json").write_text(json.dumps(config))
    (tmp_path / jobspec.OUTPUTS_PATH).mkdir()
    with pytest.raises(CheckpointRejected) as refused:
        giving_back.do(GiveBackSpec(), tmp_path, ignore, never_stop)
    assert refused.value.code == code
    assert list((tmp_path / jobspec.OUTPUTS_PATH).iterdir()) == []
