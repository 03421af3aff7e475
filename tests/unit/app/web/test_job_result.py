"""What the page of a finished job shows of a report, by the kept ones."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from app.schemas.common import StoredProblem
from app.web.jobs.job_result import result_of
from app.web.kit.rendering import environment
from tests.fixtures.html_page import Element, Page
from tests.fixtures.kept_reports import document, stored


def drawn(written: dict[str, Any]) -> Page:
    shown = SimpleNamespace(result=result_of(stored(written)))
    return Page(environment.get_template("job_result.html").render(shown=shown))


def part(page: Page, name: str) -> Element:
    (found,) = (one for one in page.all("section") if one.attributes["id"] == f"job-{name}")
    return found


def test_the_rebound_shows_accuracy_and_the_rate_without_trigger_at_its_points() -> None:
    written = document("rebound")
    points = written["rebound"]["curves"][0]["points"]
    points[1]["ca"] = {"n": 800, "successes": 10}
    section = part(drawn(written), "rebound")
    highest, measured = section.all("table")[:2]
    assert [one.text for one in highest.all("th")][1:4] == [
        "Highest ASR",
        "Without trigger there",
        "CA there",
    ]
    assert all(
        row.all("td")[at].text.strip() != "–" for row in highest.all("tbody")[0].all("tr") for at in (1, 2)
    )
    sentence = "The lowest CA of all measurements is 1.25 % (0.68 to 2.29 %), n = 800, after 10 updates at 1"
    assert sentence in " ".join(section.text.split())
    rows = measured.all("tbody")[0].all("tr")
    assert len(rows) == len(points)
    assert len(rows[0].all("td")) == 1 + 2 * min(3, len(written["audit"]["attacks"]))


def test_a_clean_models_reference_is_drawn_beside_the_rebound() -> None:
    written = document("rebound")
    without = part(drawn(written), "rebound").text
    assert "by the order" not in without
    written["audit"]["rebound"]["reference_asr"] = [0.01, *[0.9] * len(written["audit"]["rebound"]["steps"])]
    section = part(drawn(written), "rebound")
    assert "A clean model, by the order: highest 90.0 %." in section.text
    (line,) = (one for one in section.all("polyline") if "part-d" in one.attributes["class"])
    assert len(line.attributes["points"].split()) == 1 + len(written["audit"]["rebound"]["steps"])
    assert all(10 <= float(one.split(",")[1]) <= 160 for one in line.attributes["points"].split())


def test_what_the_jobs_process_said_is_quoted_as_its_own_words_and_stands_apart_from_ours() -> None:
    stored = {"code": "zip_truncated", "message": "Ours.", "remedy": "Ours, too.", "said": "<b>Your key</b>"}
    shown = {"error": StoredProblem.of(stored)}
    told = environment.get_template("job_error.html").render(shown=shown)
    assert "<p>The job's process said, in its own words: <q>&lt;b&gt;Your key&lt;/b&gt;</q></p>" in told
    assert "its own words" not in environment.get_template("job_error.html").render(
        shown={"error": StoredProblem.of(stored | {"said": None})}
    )
