"""What the page of a finished job shows of a report, by the kept ones."""

from typing import Any

from app.schemas.common import StoredProblem
from app.web.jobs.job_result import page_shown
from app.web.kit.rendering import environment
from cleanclip.face.page import render_html
from tests.fixtures.html_page import Element, Page
from tests.fixtures.kept_reports import document, stored


def rebound_of(written: dict[str, Any]) -> Element:
    page = Page(page_shown(stored(written)).sections)
    (found,) = (one for one in page.all("section") if one.attributes["aria-labelledby"] == "rebound")
    return found


def test_the_page_shows_what_report_html_shows() -> None:
    for name in ("audit", "cleaned", "par", "rebound", "retrieval", "several_targets", "examples"):
        report = stored(document(name))
        shown = page_shown(report)
        page = render_html(shown)
        assert shown.front in page, name
        assert shown.sections in page, name
        (verdict,) = (
            one for one in Page(page).all("div") if one.attributes.get("class", "").startswith("verdict")
        )
        assert [one for one in shown.sentences if one not in verdict.text] == [], name


def test_figures_on_withheld_images_stand_beside_the_others() -> None:
    written = document("cleaned")
    measured = {
        part: written.get(part) for part in ("before", "after", "ca_lost", "classes_lost", "attack_changes")
    }
    written["withheld"] = {"seed": 1, "num_samples": 600, "num_skipped": 0, "measured": measured}
    report = stored(written)
    shown = page_shown(report)
    assert shown.front in render_html(shown)
    assert 'data-figure="withheld.measured.before.ca.value"' in shown.front


def test_the_rebound_shows_where_accuracy_was_lowest() -> None:
    written = document("rebound")
    written["rebound"]["curves"][0]["points"][1]["ca"] = {"n": 800, "successes": 10}
    said = " ".join(rebound_of(written).text.split())
    assert "lowest CA of all measurements is 1.25 % (95 % interval 0.68 to 2.29 %, n = 800), after 10" in said


def test_a_clean_models_reference_is_drawn_beside_the_rebound() -> None:
    written = document("rebound")
    without = rebound_of(written).text
    assert "by the order" not in without
    written["audit"]["rebound"]["reference_asr"] = [0.01, *[0.9] * len(written["audit"]["rebound"]["steps"])]
    section = rebound_of(written)
    assert "A clean model, by the order: highest 90.0 %." in section.text
    (line,) = (one for one in section.all("polyline") if "part-d" in one.attributes["class"])
    assert len(line.attributes["points"].split()) == 1 + len(written["audit"]["rebound"]["steps"])
    assert all(10 <= float(one.split(",")[1]) <= 160 for one in line.attributes["points"].split())


def test_what_the_jobs_process_said_is_quoted_as_its_own_words_and_stands_apart_from_ours() -> None:
    stored = {"code": "zip_truncated", "message": "Ours.", "remedy": "Ours, too.", "said": "<b>Your key</b>"}
    shown = {"error": StoredProblem.of(stored)}
    reported = environment.get_template("job_error.html").render(shown=shown)
    assert "<p>The job's process said, in its own words: <q>&lt;b&gt;Your key&lt;/b&gt;</q></p>" in reported
    assert "its own words" not in environment.get_template("job_error.html").render(
        shown={"error": StoredProblem.of(stored | {"said": None})}
    )
