"""Jobs side by side: figures with their intervals, options that differ, and what is not comparable."""

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page

from app.domain.states import DatasetKind, JobState
from tests.browser.conftest import Watched, sign_in_path
from tests.browser.left_jobs import finished, ordered
from tests.fixtures.kept_reports import document
from tests.integration.api.service import Service

MARKUP = "<img src=x onerror=alert(1)>"


def compared(page: Page, *ids: str) -> str:
    page.goto("/ui/compare?" + "&".join(f"job={one}" for one in ids))
    return page.inner_text("main")


def cells(page: Page, head: str, *, under: str = "") -> list[str]:
    """The texts of a row's cells; `under` is the heading of its group."""
    rows = page.locator("table.compared tbody", has_text=under).locator("tr")
    row = rows.filter(has=page.locator("th", has_text=head)).first
    return [" ".join(text.split()) for text in row.locator("td").all_inner_texts()]


def test_figures_stand_side_by_side_with_n_and_interval(page: Page, service: Service) -> None:
    ids = [finished(service, "cleaned", version="1.2.3"), finished(service, "undecided", version="1.2.4")]
    text = compared(page, *ids)
    heads = page.locator("table.compared").first.locator("thead code").all_inner_texts()
    assert heads == ids, "in the order of the address"
    before = document("cleaned")["before"]["attacks"][0]["asr"]
    assert cells(page, "ASR before", under="badnet")[0] == (
        f"{100 * before['value']:.1f} % {100 * before['low']:.1f} to {100 * before['high']:.1f} %,"
        f" n = {before['n']}"
    )
    assert cells(page, "Verdict")[1].startswith("undecided Too few test images: undecided.")
    assert cells(page, "Outcome", under="sig") == ["inconclusive", "inconclusive"]
    for head in ("ASR after", "PA before", "PA after", "CA before", "CA after"):
        assert all("n = " in cell for cell in cells(page, head)), head
    assert all("points" in cell for cell in cells(page, "CA lost"))
    assert cells(page, "Took") == ["3 min 20 s", "3 min 20 s"]
    assert "not all measured on the same test data" not in text
    assert cells(page, "version", under="Code") == ["1.2.3", "1.2.4"]


def test_options_that_differ_are_marked_and_equal_ones_folded(page: Page, service: Service) -> None:
    labelled = service.dataset(DatasetKind.LABELLED)
    audit = {"dataset_id": labelled, "target": "banana"}
    one = finished(service, audit=audit, recipe={"learning_rate": 1e-5}, seed=1)
    two = finished(service, audit=audit, recipe={"learning_rate": 2e-5}, seed=2)
    three = finished(service, audit=audit, recipe={"method": "par"}, seed=1)
    compared(page, one, two)
    assert cells(page, "learning_rate", under="Recipe") == ["1e-05", "2e-05"]
    marked = page.locator("tr.differs th[scope=row]").all_inner_texts()
    assert [" ".join(text.split()) for text in marked] == ["≠ differs learning_rate", "≠ differs seed"]
    equal = page.locator("details.equal")
    assert not equal.locator("td", has_text="cleanclip").is_visible()
    equal.locator("summary").click()
    assert equal.locator("tr", has_text="method").first.is_visible()
    compared(page, one, two, three)
    assert cells(page, "method", under="Recipe") == ["cleanclip", "cleanclip", "par"]
    assert cells(page, "threshold", under="Recipe") == ["–", "–", "2.15"]


def test_the_same_options_are_said_to_be_the_same(page: Page, service: Service) -> None:
    audit = {"dataset_id": service.dataset(DatasetKind.LABELLED), "target": "banana"}
    assert "the same options" in compared(
        page, finished(service, audit=audit), finished(service, audit=audit)
    )


def test_figures_of_other_test_data_or_another_trigger_are_never_shown_without_saying_so(
    page: Page, service: Service
) -> None:
    text = compared(page, finished(service, version="1"), finished(service, "par", version="1"))
    assert "not all measured on the same test data" in text
    shas = [
        next(one["sha256"][:12] for one in document(name)["data"] if one["kind"] == "labelled")
        for name in ("cleaned", "par")
    ]
    assert [cell.split()[0] for cell in cells(page, "Test data")] == shas
    badnet = page.locator("th.group", has_text="badnet").first.inner_text()
    assert "do not compare these" in badnet
    assert "not tested" in cells(page, "ASR before", under="badnet-stripes")[0]


def test_an_audit_has_no_recipe_which_is_no_difference_of_options(page: Page, service: Service) -> None:
    compared(page, finished(service), finished(service, "audit"))
    assert cells(page, "kind", under="Order") == ["sanitize", "audit"]
    assert page.locator("tr.differs", has_text="learning_rate").count() == 0
    assert "Recipe" not in page.locator("table.compared").last.inner_text()


def test_a_job_that_is_not_done_stands_beside_one_that_is(page: Page, service: Service) -> None:
    compared(page, ordered(service), finished(service))
    assert cells(page, "CA before")[0] == "–"
    assert cells(page, "State") == ["queued", "succeeded"]


def test_what_is_not_known_of_a_job_differs_from_nothing(page: Page, service: Service) -> None:
    audit = {"dataset_id": service.dataset(DatasetKind.LABELLED), "target": "banana"}
    changes = {
        "audit": audit,
        "checkpoint_id": service.checkpoint(),
        "dataset_id": service.dataset(DatasetKind.PAIRS),
        "recipe": {"epochs": 2},
        "seed": 1,
    }
    done, waiting = finished(service, **changes), ordered(service, **changes)
    weights = document("cleaned")["before"]["weights_sha256"]
    compared(page, done, waiting)
    assert page.locator("tr.differs").count() == 0
    assert "Nothing, as far as is known." in page.inner_text("main")
    unknown = page.get_by_role("region", name="Not known for every job").locator("tbody tr")
    assert [" ".join(text.split()) for text in unknown.all_inner_texts()] == [
        "Seeds: seed of the audits 3 not known",
        "Code: version 0.1.0 not known",
    ]
    page.locator("details.equal summary").click()
    assert weights in page.locator("details.equal tr", has_text="input weights").inner_text()


@pytest.mark.parametrize(
    ("state", "verdict", "attack"),
    [
        (JobState.QUEUED, "none yet", "not measured yet"),
        (JobState.CANCELLED, "none: it was cancelled", "not measured"),
        (JobState.FAILED, "none: it failed", "not measured"),
    ],
)
def test_a_job_without_figures_says_why_and_what_was_ordered_was_not_left_out(
    page: Page, service: Service, state: JobState, verdict: str, attack: str
) -> None:
    attacks = [{"attack": "badnet"}, {"attack": "blended"}]
    audit = {"dataset_id": service.dataset(DatasetKind.LABELLED), "target": "banana", "attacks": attacks}
    waiting = ordered(service, audit=audit)
    service.set_job(waiting, state)
    compared(page, waiting, finished(service))
    assert cells(page, "Verdict")[0] == verdict
    assert cells(page, "Outcome", under="badnet")[0] == attack
    assert cells(page, "ASR after", under="blended")[0] == f"– {attack}"
    assert cells(page, "Outcome", under="sig")[0] == "not tested"


@pytest.mark.parametrize(
    ("num", "said"),
    [(0, "No job is chosen"), (1, "Only one job is chosen"), (7, "7 jobs are chosen")],
)
def test_fewer_than_two_and_more_than_six_are_refused_plainly(
    page: Page, service: Service, watched: Watched, num: int, said: str
) -> None:
    text = compared(page, *[f"job_{number:026}" for number in range(num)])
    assert said in text
    assert "2 to 6" in text
    page.get_by_role("link", name="Go to the jobs").click()
    page.wait_for_url("**/ui/jobs")
    watched.expect("422")


def test_a_job_named_twice_is_one_and_what_is_not_there_is_named(
    page: Page, service: Service, watched: Watched
) -> None:
    one = ordered(service)
    assert "Only one job" in compared(page, one, one)
    theirs = "job_" + "0" * 26
    assert f"There is no job {theirs}" in compared(page, one, theirs)
    assert "not an id of a job" in compared(page, one, MARKUP)
    assert page.locator("main img").count() == 0
    watched.expect("422")


def test_what_customers_wrote_is_text(page: Page, service: Service) -> None:
    reported = json.loads(json.dumps(document("cleaned")).replace('"yellow seven"', json.dumps(MARKUP)))
    ids = [finished(service, reported, filename=MARKUP), finished(service)]
    compared(page, *ids)
    assert cells(page, "target", under="Audit")[0] == MARKUP
    assert page.locator("thead .name").first.inner_text() == MARKUP
    assert page.locator("main img").count() == 0


@pytest.mark.full
def test_a_phone_scrolls_the_tables_by_touch_and_keyboard(
    service: Service, new_context: Callable[..., BrowserContext]
) -> None:
    page = new_context(viewport={"width": 390, "height": 844}).new_page()
    page.goto(sign_in_path(service))
    compared(page, *[finished(service) for _ in range(6)])
    widths = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert widths[0] <= widths[1]
    region = page.get_by_role("region", name="Figures")
    region.focus()
    page.keyboard.press("ArrowRight")
    # Not wait_for_function: its second look is evaluated in the page, where the policy forbids it.
    region.evaluate(
        "region => new Promise(done => region.scrollLeft > 0"
        " ? done() : region.addEventListener('scroll', () => done(), {once: true}))"
    )
