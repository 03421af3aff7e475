"""The page of a job: what it says and offers in every state, verdict first, all of it as text.

What happens to a page that is watched meanwhile: tests/browser/test_job_live.py.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from app.domain.states import DatasetKind, JobState
from app.services import api_keys
from cleanclip.vocabulary.report import load_json
from tests.browser import left_jobs as left
from tests.browser.conftest import Watched, sign_in_path
from tests.fixtures.kept_reports import NAMES, document
from tests.integration.api.service import Service

PHONE = {"width": 390, "height": 844}
MARKUP = '"><img src=x onerror=alert(1)><b>bold</b>'


def opened(page: Page, job_id: str) -> Page:
    page.goto(f"/ui/jobs/{job_id}")
    return page


def unfolded(page: Page, job_id: str) -> Page:
    """With everything open that the page folds."""
    opened(page, job_id).evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    return page


def of_report(page: Page, name: str) -> Locator:
    """A part of what report.html holds, too."""
    return page.locator(f"#job-report section[aria-labelledby='{name}']")


def pictures(num_attacks: int) -> dict[str, Any]:
    """Examples of which every class is called MARKUP."""
    reported: dict[str, Any] = document("examples")["examples"]
    for one in reported["examples"]:
        one["true_class"] = MARKUP
        one["triggered"] = [one["triggered"][0]] * num_attacks
        for picture in (one["clean"], *one["triggered"]):
            picture["before"]["class_name"] = picture["after"]["class_name"] = MARKUP
    return reported


def buttons(page: Page) -> set[str]:
    return {
        one.strip()
        for one in page.locator("#job-actions button:visible, #job-actions summary").all_inner_texts()
    }


# ---------------------------------------------------------------- while it waits and runs


def test_a_job_that_waits_says_how_many_of_the_project_are_before_it(page: Page, service: Service) -> None:
    service.execute("UPDATE jobs SET state = 'cancelled' WHERE state = 'queued'")
    first, second = left.ordered(service), left.ordered(service)
    assert "it is the first of your project's jobs" in opened(page, first).inner_text("#job-standing")
    assert "1 job of your project comes before it" in opened(page, second).inner_text("#job-standing")


def test_a_job_that_runs_shows_phases_progress_the_loss_and_what_happened(
    page: Page, service: Service
) -> None:
    job_id = left.ordered(service)
    attempt = left.taken_up(service, job_id)
    left.noted(service, job_id, attempt, "Skipped 3 of 100 samples.", "warning")
    left.trains(service, job_id, attempt)
    opened(page, job_id)
    assert page.inner_text("h1") == "Cleaning of clip.pt"
    assert page.locator("progress").get_attribute("value") == "0.318"
    words = page.inner_text("#job-progress")
    for part in (
        "32 % of the job",
        "this phase: step 120 of 500",
        "128 pairs/s",
        "about 3 min 10 s left",
        "loss 1.8",
    ):
        assert part in words
    assert page.inner_text("#job-phases li[aria-current=step] strong") == "Clean by fine-tuning"
    assert page.locator("#job-phases li.succeeded").count() == 2
    assert len(str(page.locator("#job-loss polyline").get_attribute("points")).split()) == 24
    assert "2.95 at step 5, 1.8 at step 120" in page.inner_text("#job-loss figcaption")
    lines = page.locator("#job-lines li").all_inner_texts()
    assert lines[0].endswith("Clean by fine-tuning: begun.")
    assert any(line.endswith("Skipped 3 of 100 samples.") for line in lines)
    assert lines[-1].endswith("Ordered; it waits for a worker.")


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (JobState.QUEUED, {"Pause", "Cancel…"}),
        (JobState.RUNNING, {"Pause", "Cancel…"}),
        (JobState.CANCELLING, set()),
        (JobState.PAUSED, {"Resume", "Cancel…"}),
        (JobState.FAILED, {"Try again", "Delete…"}),
        (JobState.CANCELLED, {"Delete…"}),
    ],
)
def test_only_what_the_state_allows_is_offered(
    page: Page, service: Service, state: JobState, expected: set[str]
) -> None:
    job_id = left.ordered(service)
    service.set_job(job_id, state)
    assert buttons(opened(page, job_id)) == expected | {"Give it a name"}
    assert page.get_by_role("link", name="Order again with changes").get_attribute("href") == (
        f"/ui/jobs/new?again={job_id}"
    )


def test_a_key_that_may_only_read_is_offered_nothing_and_refused(
    stranger: Page, service: Service, watched: Watched
) -> None:
    job_id = left.ordered(service)
    with service.database.unit_of_work() as unit:
        _, key = api_keys.issue(unit, project_id=service.ours.project_id, name="reader", scopes=("read",))
    stranger.goto(sign_in_path(service, key))
    assert stranger.goto(f"/ui/jobs/{job_id}")
    assert stranger.locator("#job-actions").inner_text() == ""
    token = stranger.locator("input[name=form_token]").first.input_value()
    cookies = {one["name"]: one["value"] for one in stranger.context.cookies()}
    answer = httpx.post(f"{service.url}/ui/jobs/{job_id}/cancel", data={"form_token": token}, cookies=cookies)
    assert answer.status_code == 403


def test_a_job_of_another_project_and_an_id_of_another_form_are_no_pages(
    page: Page, service: Service, watched: Watched
) -> None:
    job_id = left.ordered(service)
    service.execute(
        "UPDATE jobs SET project_id = :theirs WHERE id = :id", id=job_id, theirs=service.theirs.project_id
    )
    for path in (job_id, "job_%00", "job_1", "art_01k0000000000000000000000f"):
        for part in ("", "/live", "/stream"):
            answer = page.goto(f"/ui/jobs/{path}{part}")
            assert answer is not None
            assert answer.status == 404
    watched.expect("404")


# ---------------------------------------------------------------- buttons


def test_a_running_job_is_paused_and_goes_on_after_all(page: Page, service: Service) -> None:
    job_id = left.ordered(service)
    left.taken_up(service, job_id)
    opened(page, job_id).get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Keep it running").click()
    page.get_by_role("button", name="Pause").wait_for()
    assert "The pause request was withdrawn." in page.inner_text("#job-lines")


def test_a_waiting_job_is_paused_and_resumed_and_workers_are_told(page: Page, service: Service) -> None:
    job_id = left.ordered(service)
    opened(page, job_id).get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("button", name="Pause").wait_for()
    assert job_id in [ready for ready, _ in service.publisher.sent][-1:]


def test_a_cancel_is_asked_about_and_done_by_keyboard(page: Page, service: Service) -> None:
    job_id = left.ordered(service)
    opened(page, job_id).locator("#confirm-cancel summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.locator(".badge.cancelled").first.wait_for()
    assert "Cancelled. It left no result." in page.inner_text("#job-standing")


def test_a_failed_job_is_tried_again(page: Page, service: Service) -> None:
    job_id = left.ordered(service)
    left.fails(service, job_id, left.taken_up(service, job_id))
    opened(page, job_id).get_by_role("button", name="Try again").click()
    page.locator(".badge.queued").first.wait_for()
    assert page.locator("#job-error").count() == 0


def test_a_finished_job_is_deleted_and_is_no_page_any_more(
    page: Page, service: Service, watched: Watched
) -> None:
    job_id = left.finished(service, "audit")
    opened(page, job_id).locator("#confirm-delete summary").click()
    page.get_by_role("button", name="Yes, delete this job").click()
    page.wait_for_url("**/ui/jobs")
    assert "has been deleted" in opened(page, job_id).inner_text("main")
    watched.expect("404")


def test_what_comes_too_late_is_said_on_the_page_of_the_job(
    page: Page, service: Service, watched: Watched
) -> None:
    job_id = left.ordered(service)
    attempt = left.taken_up(service, job_id)
    page.route("**/live", lambda route: route.abort())
    opened(page, job_id).locator("#confirm-cancel summary").click()
    left.succeeds(service, job_id, attempt, document("cleaned"))
    page.get_by_role("button", name="Yes, cancel this job").click()
    page.get_by_role("alert").wait_for()
    assert "cannot be cancelled" in page.get_by_role("alert").inner_text()
    assert "Cleaned, as far as tested: pass." in page.inner_text("#job-verdict")
    watched.errors = [error for error in watched.errors if "409" not in error and "ERR_FAILED" not in error]


def test_everything_works_without_javascript(
    new_context: Callable[..., BrowserContext], service: Service
) -> None:
    page = new_context(java_script_enabled=False).new_page()
    page.goto(sign_in_path(service))
    job_id = left.ordered(service)
    opened(page, job_id)
    assert page.get_by_role("link", name="Refresh").get_attribute("href") == f"/ui/jobs/{job_id}"
    assert page.locator("noscript meta, meta[http-equiv=refresh]").count() == 1
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Resume").click()
    page.locator("#confirm-cancel summary").click()
    page.get_by_role("button", name="Yes, cancel this job").click()
    expect(page.locator(".badge.cancelled")).to_have_count(1)
    page.wait_for_load_state()
    assert page.locator("meta[http-equiv=refresh]").count() == 0, "nothing to wait for"


# ---------------------------------------------------------------- the result


@pytest.mark.parametrize("name", NAMES)
def test_every_kept_report_is_shown_verdict_first(page: Page, service: Service, name: str) -> None:
    reported = document(name)
    opened(page, left.finished(service, reported))
    headings = page.locator("main section:not(#job-worse) h2").all_inner_texts()  # one of another test's job
    assert (
        headings[0]
        in {
            "pass": ["Cleaned, as far as tested: pass."],
            "fail": ["Not cleaned: fail.", "A trigger works on this model: fail."],
            "undecided": ["Too few test images: undecided."],
            "inconclusive": ["Nothing found with the 3 triggers tested: inconclusive."],
        }[reported["verdict"]["outcome"]]
    )
    verdict = " ".join(str(page.text_content("#job-verdict")).split())  # with what is folded
    parts = [*reported["verdict"]["attacks"], *filter(None, [reported["verdict"].get("clean_accuracy")])]
    for part in parts:
        assert part["reason"] in verdict
    assert "undefined" not in page.inner_text("main").lower()


def test_what_cleaning_did_to_every_trigger_stands_with_its_interval_beside_a_plot(
    page: Page, service: Service
) -> None:
    unfolded(page, left.finished(service, "cleaned"))
    shown = of_report(page, "attacks")
    first = shown.locator(".attack").first.inner_text()
    for part in (
        "badnet",
        "yellow seven",
        "99.49 %",
        "95 %: 99.17",
        "0.94 %",
        "ASR, target class included",
        "PA",
    ):
        assert part in first
    assert shown.locator("svg g.before").count() == 3
    assert shown.locator("svg g.after").count() == 3
    assert "0.94 % (95 % interval 0.65 to 1.36 %, n = 2965) after." in str(
        shown.locator("svg desc").text_content()
    )
    assert "Target without trigger" in shown.inner_text()
    assert "1.80 points, 95 % interval 0.88 to 2.74, n = 3000" in " ".join(shown.inner_text().split())
    assert of_report(page, "examples").count() == 0
    assert of_report(page, "training").locator("polyline").count() == 3


def test_what_an_attack_lost_is_paired_on_the_same_pictures(page: Page, service: Service) -> None:
    reported = document("cleaned")
    unfolded(page, left.finished(service, "cleaned"))
    shown = " ".join(of_report(page, "attacks").locator(".attack").first.inner_text().split())
    for lost in (reported["attack_changes"][0][name] for name in ("asr_lost", "pa_lost")):
        interval = f"95 % interval {100 * lost['low']:.2f} to {100 * lost['high']:.2f}, n = {lost['n']}"
        assert f"{100 * lost['value']:.2f} points, {interval}" in shown


def test_undecided_says_how_many_pictures_would_decide(page: Page, service: Service) -> None:
    opened(page, left.finished(service, "undecided"))
    assert "About 577,000 images would decide it" in page.inner_text("#job-verdict")


def test_a_verdict_speaks_of_clean_accuracy_in_the_words_it_has_for_triggers(
    page: Page, service: Service
) -> None:
    said = opened(page, left.finished(service, "cleaned")).inner_text("#job-verdict")
    parts = (
        opened(page, left.finished(service, "cleaned")).locator("#job-verdict li .badge").all_inner_texts()
    )
    assert parts.count("pass") == 2, "one trigger and clean accuracy"
    undecided = opened(page, left.finished(service, "par")).inner_text("#job-verdict")
    assert "More images would decide: clean accuracy." in undecided
    assert "clean_accuracy" not in said + undecided


def test_attempts_are_told_and_those_that_do_not_count(page: Page, service: Service) -> None:
    job_id = left.ordered(service)
    order = opened(page, job_id).locator("#job-order dl")
    assert "none yet; at most 3" in order.inner_text()
    left.taken_up(service, job_id)
    assert "1 of at most 3" in opened(page, job_id).locator("#job-order dl").inner_text()
    service.set_job(job_id, JobState.RUNNING, attempt=3)
    assert "1 of at most 3; 2 more do not count (paused, handed back" in opened(page, job_id).inner_text(
        "#job-order"
    )


def test_what_was_inconclusive_is_never_called_removed(page: Page, service: Service) -> None:
    unfolded(page, left.finished(service, "inconclusive"))
    said = page.locator("#job-verdict li", has_not_text="Clean accuracy").all_inner_texts()
    said += of_report(page, "attacks").locator(".attack h3").all_inner_texts()
    assert all("inconclusive" in one for one in said)
    assert not any("pass" in one for one in said)


def test_a_worse_verdict_on_the_same_weights_is_shown_with_the_job_and_with_the_checkpoint(
    page: Page, service: Service
) -> None:
    digest = "7" * 64
    nothing, found = document("audit_inconclusive"), document("audit")
    for reported in (nothing, found):
        reported["before"]["weights_sha256"] = reported["checkpoint"]["weights_sha256"] = digest
    inconclusive = left.finished(service, nothing)
    assert opened(page, inconclusive).locator("#job-worse").count() == 0
    worse = left.finished(service, found)
    warning = opened(page, inconclusive).inner_text("#job-worse")
    assert "Another verdict on these weights is worse" in warning
    assert f"A trigger works on this model: fail: {worse}" in warning
    assert opened(page, worse).locator("#job-worse").count() == 0
    checkpoint_id = service.checkpoint()
    service.execute(
        "UPDATE checkpoints SET weights_sha256 = :new WHERE id = :id", new=digest, id=checkpoint_id
    )
    page.goto(f"/ui/checkpoints/{checkpoint_id}")
    rows = page.locator("#checkpoint-verdicts tbody tr").all_inner_texts()
    assert [worse in rows[0], inconclusive in rows[1], len(rows)] == [True, True, 2]
    assert "Nothing found with the 3 triggers tested: inconclusive" in rows[1]


def test_classes_the_probe_drift_and_retrieval_stand_where_they_were_measured(
    page: Page, service: Service
) -> None:
    several = document("several_targets")
    unfolded(page, left.finished(service, several))
    shown = of_report(page, "attacks").inner_text()
    assert several["classes_lost"][0]["class_name"] in shown
    assert "Linear probe, accuracy" in shown
    assert "Embedding drift" in shown
    assert "Classes with the lowest clean accuracy" not in shown
    for audit in (several["before"], several["after"]):
        audit["ca_per_class"] = [
            {"class_name": f"kind {number}", "accuracy": {"n": 100, "successes": 5 * number}}
            for number in reversed(range(12))
        ]
    several["environment"] |= {"numpy": "2.9.1", "pillow": "99.1", "code_commit": "c0de" * 10}
    unfolded(page, left.finished(service, several))
    lowest = page.get_by_role("table", name="Classes with the lowest clean accuracy").locator("tbody th")
    assert lowest.all_inner_texts() == [f"kind {number}" for number in range(10)]
    assert "10 of 12 classes" in of_report(page, "attacks").inner_text()
    made_with = of_report(page, "repeat").inner_text()
    assert "2.9.1, 99.1" in made_with
    assert "c0de" * 10 in made_with
    unfolded(page, left.finished(service, "retrieval"))
    assert "Image to caption, R@5" in of_report(page, "retrieval").inner_text()


def test_the_same_pictures_stand_clean_and_triggered_with_what_was_said_before_and_after(
    page: Page, service: Service
) -> None:
    reported = document("examples")
    examples, attacks = reported["examples"], reported["before"]["attacks"]
    unfolded(page, left.finished(service, reported))
    cards = of_report(page, "examples").locator("ul.examples > li")
    assert cards.count() == len(examples["examples"])
    assert cards.first.locator("img").count() == 1 + len(attacks), "the clean image stands once"
    cards.first.scroll_into_view_if_needed()
    for picture in cards.first.locator("img").all():
        picture.evaluate("one => one.decode()")
        assert picture.evaluate("one => one.naturalWidth") == examples["side"]
    shown, first = cards.first.inner_text(), examples["examples"][0]
    assert f"True class: {first['true_class']}" in shown
    triggered = first["triggered"][0]
    assert f"before: {triggered['before']['class_name']}" in shown
    assert f"after: {triggered['after']['class_name']}" in shown
    with_first = cards.first.locator("figure").nth(1)
    assert attacks[0]["name"] in with_first.inner_text()
    [called_target] = with_first.locator(".said strong").all()
    assert called_target.inner_text() == reported["audit"]["target"]


def test_an_audit_shows_no_cleaning(page: Page, service: Service) -> None:
    unfolded(page, left.finished(service, "audit"))
    assert page.inner_text("h1") == "Audit of clip.pt"
    assert "more often than the gate or the limit allows: badnet" in page.inner_text("#job-verdict")
    assert of_report(page, "attacks").locator("svg g.after").count() == 0
    assert of_report(page, "training").count() == 0
    assert "After" not in of_report(page, "attacks").locator("thead").first.inner_text()


def test_a_job_that_failed_says_why_what_to_do_and_what_was_kept(page: Page, service: Service) -> None:
    job_id = left.ordered(service)
    attempt = left.taken_up(service, job_id)
    left.trains(service, job_id, attempt)
    opened(page, job_id)
    left.measures_first(service, job_id, attempt, load_json(json.dumps(document("cleaned"))))
    page.wait_for_selector("#job-preliminary")
    assert "The job is not finished yet." in page.inner_text("#job-preliminary")
    left.fails(service, job_id, attempt)
    page.wait_for_selector("#job-error")
    error = page.inner_text("#job-error")
    for part in ("over its bound of 8.3", "lower learning rate", "loss_diverged", "phase finetune"):
        assert part in error
    figures = page.inner_text("#job-kept")
    preliminary = page.inner_text("#job-preliminary")
    assert "Before cleaning: A trigger works on this model" in preliminary
    assert "not signed" in preliminary
    assert "The job did not finish." in preliminary
    assert "93.13 % (92.17 to 93.98 %)" in figures
    assert page.locator("#job-loss polyline").count() == 1, "how the loss ran away"
    assert page.locator("#job-verdict").count() == 0


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"schema_version": 2}, "a version that this page does not read"),
        ({"audit": document("cleaned")["audit"] | {"attacks": [{"attack": "sig"}]}}, "contradicts itself"),
    ],
)
def test_a_report_that_cannot_be_read_is_said_and_its_files_are_there(
    page: Page, service: Service, changed: dict[str, Any], said: str
) -> None:
    job_id = left.ordered(service)
    left.succeeds(service, job_id, left.taken_up(service, job_id), document("cleaned") | changed)
    opened(page, job_id)
    assert said in page.inner_text("#job-unreadable")
    assert "report.json" in page.inner_text("#job-files")


def test_a_store_that_lost_the_report_leaves_the_rows_figures_on_the_page(
    page: Page, service: Service
) -> None:
    job_id = left.finished(service, "cleaned")
    for stored in list(service.store.list_prefix(f"outputs/{service.ours.project_id}/{job_id}/")):
        service.store.delete(stored.key)
    opened(page, job_id)
    assert "does not give out the report" in page.inner_text("#job-unreadable")
    assert "Verdict: pass" in page.inner_text("main")
    assert "0.94 % (0.65 to 1.36 %)" in page.inner_text("#job-kept")


def test_every_file_is_served_with_its_size_digest_and_signature_state(page: Page, service: Service) -> None:
    report = document("audit")
    job_id = left.finished(service, report, signature=left.SIGNED)
    files = unfolded(page, job_id).locator("#job-files")
    assert "signed by the operator's key " + "7" * 16 + "…" in files.inner_text()
    assert "SHA-256 of the key " + "7" * 64 in files.inner_text()
    for row in service.ours.http.get(f"/v1/jobs/{job_id}/artifacts").json()["data"]:
        assert row["sha256"] in files.inner_text()
        with page.expect_download() as download:
            files.get_by_role("link", name=row["name"], exact=True).click()
        assert download.value.suggested_filename == row["name"]
        assert hashlib.sha256(download.value.path().read_bytes()).hexdigest() == row["sha256"]
    opened(page, left.finished(service, report))
    assert "unsigned" in page.inner_text("#job-files")


def test_what_customers_and_reports_say_is_text(page: Page, service: Service) -> None:
    """Class names, metadata, messages, names of triggers: nothing of them becomes an element."""
    labelled = service.dataset(DatasetKind.LABELLED, class_names=("zero", MARKUP))
    report = document("several_targets")
    report["before"]["attacks"][0]["name"] = report["after"]["attacks"][0]["name"] = MARKUP
    report["attack_changes"][0]["attack"] = MARKUP
    del report["verdict"], report["warnings"]  # they follow, and name trigger and class
    report["classes_lost"][0]["class_name"] = report["audit"]["target"] = MARKUP
    report["examples"] = pictures(len(report["before"]["attacks"]))
    job_id = left.ordered(
        service, metadata={"note": MARKUP}, audit={"dataset_id": labelled, "target": MARKUP}
    )
    attempt = left.taken_up(service, job_id)
    left.noted(service, job_id, attempt, MARKUP)
    left.trains(service, job_id, attempt, message=MARKUP)
    opened(page, job_id)
    assert MARKUP in page.inner_text("#job-progress")
    assert MARKUP in page.inner_text("#job-lines")
    left.succeeds(service, job_id, attempt, report)
    page.locator("#job-verdict").wait_for()
    unfolded(page, job_id)
    for part in ("#job-verdict", "#job-remarks", "#job-order"):
        assert MARKUP in page.inner_text(part)
    for name in ("attacks", "examples", "digests"):
        assert MARKUP in of_report(page, name).inner_text()
    assert page.locator("main b, main img:not([src^='data:image/png;base64,'])").count() == 0
    error = {"code": "x", "message": MARKUP, "remedy": MARKUP}
    other = left.ordered(service)
    with service.database.unit_of_work() as unit:
        assert unit.attempts.finish_failed(other, left.taken_up(service, other), error=error)
    assert MARKUP in opened(page, other).inner_text("#job-error")
    assert page.locator("main img, main b").count() == 0


def test_verdict_figures_and_files_are_on_top_and_order_again_and_delete_at_the_end(
    page: Page, service: Service
) -> None:
    job_id = left.finished(service, "cleaned", signature=left.SIGNED, files={"model.safetensors": b"w"})
    opened(page, job_id)
    parts = page.locator("#job > [data-part]").evaluate_all("all => all.map(one => one.id)")
    top = ["job-verdict", "job-figures", "job-files", "job-untested"]
    shown = [part for part in parts if part not in ("job-head", "job-standing", "job-worse")]
    assert shown[:4] == top
    assert shown[-1] == "job-actions"
    figures = page.inner_text("#job-figures")
    for part in ("93.13 %", "95 %: 92.17 to 93.98 %", "of n = 3000", "PA badnet", "77.47 %", "ASR sig"):
        assert part in figures
    assert f"cleanclip verify {job_id} --key PUB.pem" in page.inner_text("#job-files")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the cleaned model").click()
    assert download.value.suggested_filename == "model.safetensors"
    assert "Any other trigger" in page.inner_text("#job-untested")


def test_figures_that_no_limit_judges_are_remarked_on(page: Page, service: Service) -> None:
    remarks = opened(page, left.finished(service, "cleaned")).inner_text("#job-remarks")
    assert "PA is far under CA (91.33 %)" in remarks
    assert opened(page, left.finished(service, "par")).locator("#job-remarks").count() == 0


def test_of_many_triggers_the_worst_are_on_top_and_the_others_folded(page: Page, service: Service) -> None:
    reported = document("audit")
    for part in ("audit", "before", "verdict"):
        reported[part]["attacks"] += [reported[part]["attacks"][1]] * 5
    del reported["warnings"]  # they follow
    opened(page, left.finished(service, reported))
    assert page.locator("#job-figures tbody tr").count() == 1 + 2 * 3
    assert "the worst of 8 triggers" in page.inner_text("#job-figures")
    assert "5 more triggers" in page.inner_text("#job-verdict")


def test_a_phone_shows_a_finished_job_within_four_screens_and_nothing_is_wider(
    new_context: Callable[..., BrowserContext], service: Service
) -> None:
    page = new_context(viewport=PHONE).new_page()
    page.goto(sign_in_path(service))
    weights = {"model.safetensors": b"w", "report.html": b"<!doctype html>"}
    for name in NAMES:
        left.forget_jobs(service)
        job_id = left.finished(
            service, name, signature=left.SIGNED, files=weights, metadata={"long": "x" * 200}
        )
        opened(page, job_id)
        assert page.evaluate("document.documentElement.scrollHeight") <= 4 * PHONE["height"], name
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"], name
    unfolded(page, job_id)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


def test_a_job_is_renamed_on_its_page_and_found_by_its_name(page: Page, service: Service) -> None:
    job_id = left.finished(service, "audit")
    opened(page, job_id).get_by_text("Give it a name").click()
    page.get_by_label("Name").fill("Release 7, nightly")
    page.get_by_role("button", name="Save the name").click()
    page.wait_for_load_state()
    assert page.inner_text("h1") == "Release 7, nightly"
    page.goto("/ui/jobs?q=release 7")
    assert page.locator(".jobs tbody tr").count() == 1
    assert "Release 7, nightly" in page.inner_text(".jobs tbody")
