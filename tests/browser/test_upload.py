"""Uploading in a real browser to a real object store: what goes where, and what interrupts it."""

import hashlib
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Error, Page, Request, Route, expect

from app.db.models.assets import Checkpoint, Upload
from app.services import uploads
from tests.browser.conftest import Watched, sign_in_path
from tests.integration.api.service import MIB, Service

PART_BYTES = 5 * MIB


class Parts:
    """The parts that a page sends to the store, and a gate that holds some of them back."""

    def __init__(self, page: Page, service: Service) -> None:
        self.host = urlsplit(service.ports.settings.storage.endpoint_url or "").netloc
        self.sent: list[int] = []
        self.held: list[Route] = []
        self._holds_from: int | None = None
        page.on("request", self._on_request)
        page.route(lambda url: urlsplit(url).netloc == self.host, self._on_route)

    def hold_from(self, number: int) -> None:
        """Parts from this one on leave the page and do not arrive."""
        self._holds_from = number

    def release(self) -> None:
        self._holds_from = None
        held, self.held = self.held, []
        for route in held:
            try:
                route.continue_()
            except Error:  # its request was given up meanwhile
                continue

    def _on_request(self, request: Request) -> None:
        if urlsplit(request.url).netloc == self.host and request.method == "PUT":
            self.sent.append(part_number(request.url))

    def _on_route(self, route: Route) -> None:
        holds = self._holds_from is not None and part_number(route.request.url) >= self._holds_from
        if holds and route.request.method == "PUT":
            self.held.append(route)
        else:
            route.continue_()


def part_number(url: str) -> int:
    return int(parse_qs(urlsplit(url).query).get("partNumber", ["0"])[0])


def file_of(folder: Path, num_bytes: int, name: str = "clip.pt", seed: int = 0) -> Path:
    path = folder / name
    path.write_bytes(random.Random(seed).randbytes(num_bytes))
    return path


def choose(page: Page, path: Path) -> None:
    page.set_input_files("#file", path)


def wait_for_checkpoint(page: Page, *, timeout_ms: float | None = None) -> str:
    page.wait_for_url(re.compile(r"/ui/checkpoints/ckpt_\w+$"), timeout=timeout_ms)
    return page.url.rpartition("/")[2]


def wait_for_stored(page: Page, service: Service, numbers: Sequence[int]) -> None:
    """Until the store itself holds these parts of the one open upload."""
    for _ in range(600):
        if stored_numbers(service) == list(numbers):
            return
        page.wait_for_timeout(50)
    raise AssertionError((stored_numbers(service), list(numbers)))


def stored_numbers(service: Service) -> list[int]:
    with service.database.unit_of_work(service.ours.project_id) as unit:
        rows, _ = unit.uploads.open_of(service.ours.project_id, uploads.UploadPurpose.CHECKPOINT, 1)
    return [part.number for part in uploads.stored_parts(service.store, rows[0])] if rows else []


def read_back(service: Service, checkpoint_id: str) -> tuple[Checkpoint, Upload, str]:
    """The rows, and the SHA-256 of the bytes that lie in the store."""
    project_id = service.ours.project_id
    with service.database.unit_of_work(project_id) as unit:
        checkpoint = unit.checkpoints.get(project_id, checkpoint_id)
        upload = unit.uploads.get(project_id, checkpoint.upload_id)
    digest = hashlib.sha256()
    for chunk in service.store.stream(upload.object_key):
        digest.update(chunk)
    return checkpoint, upload, digest.hexdigest()


def assert_arrived(service: Service, checkpoint_id: str, path: Path) -> Checkpoint:
    checkpoint, upload, stored = read_back(service, checkpoint_id)
    with path.open("rb") as file:
        wanted = hashlib.file_digest(file, "sha256").hexdigest()
    assert stored == wanted, "the bytes in the store are the file's"
    assert upload.declared_sha256 == wanted, "the page computed it, and the inspection will compare"
    assert checkpoint.filename == path.name
    return checkpoint


@pytest.fixture(autouse=True)
def _nothing_open(service: Service) -> Iterator[None]:
    yield
    service.execute("UPDATE uploads SET state = 'cancelled' WHERE state = 'open'")


@pytest.fixture
def form(page: Page, service: Service) -> Page:
    """A signed-in page with the form."""
    page.goto("/ui/checkpoints")
    expect(page.locator("#upload")).to_be_visible()
    return page


@pytest.fixture
def parts(form: Page, service: Service) -> Parts:
    return Parts(form, service)


def test_a_chosen_file_goes_in_parts_straight_to_the_store(
    form: Page, parts: Parts, service: Service, tmp_path: Path
) -> None:
    path = file_of(tmp_path, 2 * PART_BYTES + 7)
    form.get_by_text("What the file does not say").click()
    form.get_by_label("QuickGELU").select_option("yes")
    form.get_by_label("Image mean").fill("0.5, 0.5, 0.5")
    choose(form, path)
    checkpoint = assert_arrived(service, wait_for_checkpoint(form), path)
    assert sorted(parts.sent) == [1, 2, 3]
    assert checkpoint.declared["quick_gelu"] is True
    assert checkpoint.declared["image_mean"] == [0.5, 0.5, 0.5]
    assert service.publisher.sent[-1][0] == checkpoint.inspect_job_id
    expect(form.get_by_role("heading", name="clip.pt")).to_be_visible()
    expect(form.get_by_role("status")).to_contain_text("quarantine")


@pytest.mark.full
def test_a_dropped_file_is_sent_too(form: Page, parts: Parts, service: Service, tmp_path: Path) -> None:
    transfer = form.evaluate_handle(
        """(size) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(size).fill(7)], 'dropped.safetensors'));
          return transfer;
        }""",
        PART_BYTES + 1,
    )
    form.dispatch_event("#drop", "dragenter", {"dataTransfer": transfer})
    expect(form.locator("#drop")).to_have_class("drop over")
    form.dispatch_event("#drop", "drop", {"dataTransfer": transfer})
    same = tmp_path / "dropped.safetensors"
    same.write_bytes(b"\x07" * (PART_BYTES + 1))
    assert_arrived(service, wait_for_checkpoint(form), same)
    assert sorted(parts.sent) == [1, 2]


@pytest.mark.full
def test_four_parts_are_on_their_way_at_a_time(
    form: Page, parts: Parts, service: Service, tmp_path: Path
) -> None:
    path = file_of(tmp_path, 7 * PART_BYTES)
    parts.hold_from(1)
    choose(form, path)
    expect(form.locator("#sent-state")).to_contain_text("Sending")
    while len(parts.held) < 4:
        form.wait_for_timeout(20)
    expect(form.locator("#digest-figures")).to_contain_text("computed")
    assert sorted(parts.sent) == [1, 2, 3, 4]
    assert form.evaluate("document.title").endswith("clip.pt")
    found = Axe().run(form)
    assert found.violations_count == 0, found.generate_report()
    parts.release()
    assert_arrived(service, wait_for_checkpoint(form), path)


def test_a_paused_upload_goes_on_where_it_was(
    form: Page, parts: Parts, service: Service, tmp_path: Path
) -> None:
    path = file_of(tmp_path, 4 * PART_BYTES)
    parts.hold_from(2)
    with form.expect_request_finished(lambda one: one.method == "PUT" and part_number(one.url) == 1):
        choose(form, path)
    form.get_by_role("button", name="Pause").click()
    expect(form.locator("#sent-state")).to_contain_text("Paused")
    expect(form.locator("#sent-figures")).to_contain_text("25 %")
    parts.release()
    form.get_by_role("button", name="Go on").click()
    assert_arrived(service, wait_for_checkpoint(form), path)
    assert parts.sent.count(1) == 1, "what was stored is not sent again"


def test_after_a_reload_only_the_missing_parts_are_sent(
    form: Page, parts: Parts, service: Service, tmp_path: Path
) -> None:
    path = file_of(tmp_path, 4 * PART_BYTES + 1)
    parts.hold_from(3)
    choose(form, path)
    wait_for_stored(form, service, [1, 2])
    asked: list[str] = []
    form.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    form.reload()
    assert asked == ["beforeunload"], "who leaves while it is sent is asked"
    parts.release()
    parts.sent.clear()
    unfinished = form.locator("#unfinished")
    expect(unfinished).to_contain_text("2 of 5 parts are stored")
    with form.expect_file_chooser() as chooser:
        unfinished.get_by_role("button", name="Choose").click()
    chooser.value.set_files(path)
    assert_arrived(service, wait_for_checkpoint(form), path)
    assert sorted(parts.sent) == [3, 4, 5]
    form.goto("/ui/checkpoints")
    expect(unfinished).to_be_hidden()


def test_another_file_does_not_go_on_with_an_upload(
    form: Page, parts: Parts, service: Service, tmp_path: Path
) -> None:
    path = file_of(tmp_path, 3 * PART_BYTES)
    times = os.stat(path)
    parts.hold_from(2)
    choose(form, path)
    wait_for_stored(form, service, [1])
    form.on("dialog", lambda dialog: dialog.accept())
    form.reload()
    parts.release()
    parts.sent.clear()
    unfinished, complaint = form.locator("#unfinished"), form.locator("#file-error")

    def again() -> None:
        with form.expect_file_chooser() as chooser:
            unfinished.get_by_role("button", name="Choose").click()
        chooser.value.set_files(path)

    file_of(tmp_path, 3 * PART_BYTES, seed=1)
    again()
    expect(complaint).to_contain_text("was changed since")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    again()
    expect(complaint).to_contain_text("has other content")
    file_of(tmp_path, 3 * PART_BYTES - 1)
    again()
    expect(complaint).to_contain_text(f"has {3 * PART_BYTES - 1} bytes")
    assert parts.sent == []
    unfinished.get_by_role("button", name="Cancel").click()
    expect(unfinished).to_be_hidden()
    assert stored_numbers(service) == []


@pytest.mark.full
def test_a_lost_network_is_waited_for(
    form: Page, parts: Parts, service: Service, tmp_path: Path, watched: Watched
) -> None:
    path = file_of(tmp_path, 4 * PART_BYTES)
    parts.hold_from(2)
    choose(form, path)
    wait_for_stored(form, service, [1])
    form.context.set_offline(True)
    parts.release()
    expect(form.locator("#sent-state")).to_contain_text("network is gone")
    form.context.set_offline(False)
    assert_arrived(service, wait_for_checkpoint(form), path)
    assert parts.sent.count(1) == 1
    watched.errors = [error for error in watched.errors if "ERR_INTERNET_DISCONNECTED" not in error]


@pytest.mark.full
def test_a_digest_whose_program_cannot_be_loaded_is_begun_again(
    form: Page, parts: Parts, service: Service, tmp_path: Path
) -> None:
    asked: list[str] = []

    def lost_the_second_time(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) == 2:
            route.abort("internetdisconnected")
        else:
            route.continue_()

    form.context.route("**/sha2.js", lost_the_second_time)
    path = file_of(tmp_path, 2 * PART_BYTES)
    choose(form, path)
    assert_arrived(service, wait_for_checkpoint(form), path)
    assert len(asked) == 3  # the sample's, the one that was lost, the digest's
    assert sorted(parts.sent) == [1, 2]


@pytest.mark.full
def test_a_file_is_chosen_again_where_the_program_that_samples_it_cannot_be_loaded(
    form: Page, service: Service, tmp_path: Path
) -> None:
    form.context.route("**/sha2.js", lambda route: route.abort("internetdisconnected"), times=1)
    path = file_of(tmp_path, PART_BYTES)
    choose(form, path)
    expect(form.locator("#file-error")).to_have_text("The service does not answer. Choose the file again.")
    choose(form, path)
    assert_arrived(service, wait_for_checkpoint(form), path)


@pytest.mark.full
def test_an_expired_address_is_asked_for_again(
    *,
    form: Page,
    parts: Parts,
    service: Service,
    tmp_path: Path,
    watched: Watched,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    presign, asked = uploads.presign, []

    def short_lived(*args: Any, expires_s: int) -> Any:
        asked.append(args[2])
        return presign(*args, expires_s=1 if len(asked) == 1 else expires_s)

    monkeypatch.setattr(uploads, "presign", short_lived)
    path = file_of(tmp_path, PART_BYTES)
    parts.hold_from(1)
    choose(form, path)
    while not parts.held:
        form.wait_for_timeout(20)
    time.sleep(2.1)  # the store's clock: the address is for one second
    parts.release()
    assert_arrived(service, wait_for_checkpoint(form), path)
    assert asked == [[1], [1]]
    assert parts.sent == [1, 1]
    watched.expect("403")


@pytest.mark.full
def test_a_session_that_ends_meanwhile_loses_nothing(
    form: Page, parts: Parts, service: Service, tmp_path: Path, watched: Watched
) -> None:
    path = file_of(tmp_path, 2 * PART_BYTES)
    parts.hold_from(2)
    choose(form, path)
    wait_for_stored(form, service, [1])
    service.execute("UPDATE web_sessions SET expires_at = now() - interval '1 second'")
    parts.release()
    expect(form.locator("#sent-state")).to_contain_text("signed out")
    link = form.get_by_role("link", name="Sign in in another tab")
    assert link.get_attribute("href") == "/ui/sign-in?next=/ui/checkpoints"
    other = form.context.new_page()
    other.goto(sign_in_path(service))
    form.bring_to_front()
    form.get_by_role("button", name="Go on").click()
    assert_arrived(service, wait_for_checkpoint(form), path)
    assert sorted(parts.sent) == [1, 2]
    watched.expect("401")


def test_a_browser_that_keeps_nothing_uploads_too(page: Page, service: Service, tmp_path: Path) -> None:
    page.add_init_script(
        "Object.defineProperty(window, 'localStorage', "
        "{ get() { throw new DOMException('denied', 'SecurityError'); } });"
    )
    page.goto("/ui/checkpoints")
    expect(page.locator("#file-help")).to_contain_text("stores nothing")
    path = file_of(tmp_path, PART_BYTES)
    choose(page, path)
    assert_arrived(service, wait_for_checkpoint(page), path)


@pytest.mark.full
def test_of_two_tabs_only_one_sends_and_the_other_takes_over(
    form: Page, parts: Parts, service: Service, tmp_path: Path
) -> None:
    path = file_of(tmp_path, 4 * PART_BYTES)
    parts.hold_from(2)
    choose(form, path)
    wait_for_stored(form, service, [1])
    second = form.context.new_page()
    second.goto("/ui/checkpoints")
    seconds_parts = Parts(second, service)
    choose(second, path)
    expect(second.locator("#sent-state")).to_contain_text("Another tab is sending")
    assert seconds_parts.sent == []
    form.close()
    assert_arrived(service, wait_for_checkpoint(second), path)
    sent = seconds_parts.sent
    assert 1 not in sent, "the store held it"
    assert len(sent) == len(set(sent)), "what was held back may get through where its tab is closed"


@pytest.mark.full
def test_a_large_file_does_not_fill_the_browsers_memory(
    form: Page, chromium: Browser, service: Service, tmp_path: Path
) -> None:
    path = tmp_path / "large.pt"
    with path.open("wb") as file:
        file.truncate(300 * MIB)
    cdp = form.context.new_cdp_session(form)
    cdp.send("Performance.enable")
    heap, memory = heap_bytes(cdp), resident_bytes(chromium, "VmRSS")
    highest = 0

    def look(_: Request) -> None:
        nonlocal highest
        highest = max(highest, resident_bytes(chromium, "VmRSS"))

    form.on("requestfinished", look)
    with form.expect_request("**/complete", timeout=120_000):  # every part is stored
        choose(form, path)
    grown = heap_bytes(cdp) - heap
    wait_for_checkpoint(form, timeout_ms=120_000)
    assert grown < 20 * MIB
    assert highest - memory < 200 * MIB, "all of the browser's processes together; the file has 300 MiB"
    assert_arrived(service, form.url.rpartition("/")[2], path)


def heap_bytes(cdp: Any) -> int:
    metrics = {one["name"]: one["value"] for one in cdp.send("Performance.getMetrics")["metrics"]}
    return int(metrics["JSHeapUsedSize"])


def resident_bytes(chromium: Browser, line: str) -> int:
    """Of all processes of the browser."""
    found = chromium.new_browser_cdp_session().send("SystemInfo.getProcessInfo")
    total = 0
    for process in found["processInfo"]:
        try:
            status = Path(f"/proc/{process['id']}/status").read_text()
        except FileNotFoundError:
            continue
        total += sum(int(text.split()[1]) * 1024 for text in status.splitlines() if text.startswith(line))
    return total


def test_an_upload_is_cancelled_and_leaves_no_part(
    form: Page, parts: Parts, service: Service, tmp_path: Path
) -> None:
    before = service.multipart_keys()
    parts.hold_from(2)
    name = "<img src=x onerror=alert(1)>.pt"
    choose(form, file_of(tmp_path, 2 * PART_BYTES, name))
    wait_for_stored(form, service, [1])
    expect(form.locator("#sent-name")).to_have_text(name)
    assert form.locator("main img").count() == 0, "a file's name is text"
    form.get_by_role("button", name="Cancel the upload").click()
    expect(form.locator("#drop")).to_be_visible()
    expect(form.locator("#unfinished")).to_be_hidden()
    assert service.multipart_keys() == before


def test_what_is_declared_wrongly_is_told_beside_its_field(
    form: Page, parts: Parts, tmp_path: Path, watched: Watched
) -> None:
    form.get_by_text("What the file does not say").click()
    field = form.get_by_label("Heads, vision")
    field.fill("many")
    choose(form, file_of(tmp_path, 10))
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_be_focused()
    assert field.input_value() == "many"
    said = form.locator(f"#{(field.get_attribute('aria-describedby') or '').split()[0]}")
    expect(said).to_contain_text("Heads, vision:")
    assert parts.sent == []
    watched.expect("422")


def test_what_cannot_be_an_upload_is_said_at_once(form: Page, tmp_path: Path) -> None:
    empty = tmp_path / "empty.pt"
    empty.touch()
    choose(form, empty)
    expect(form.get_by_role("alert")).to_contain_text("empty")
    large = tmp_path / "large.pt"
    with large.open("wb") as file:
        file.truncate(1025 * MIB)
    choose(form, large)
    expect(form.get_by_role("alert")).to_contain_text("the limit is 1.1 GB")


@pytest.mark.full
def test_a_store_that_takes_nothing_from_pages_is_told_from_one_that_is_away(
    form: Page, service: Service, tmp_path: Path, watched: Watched
) -> None:
    rule = {"AllowedOrigins": ["https://elsewhere.example"], "AllowedMethods": ["PUT"]}
    service.s3.put_bucket_cors(
        Bucket=service.store.bucket,
        CORSConfiguration={"CORSRules": [rule]},  # type: ignore[list-item,typeddict-item]
    )
    try:
        choose(form, file_of(tmp_path, PART_BYTES))
        expect(form.locator("#sent-remedy")).to_contain_text("CORS rule", timeout=60_000)
    finally:
        service.s3.delete_bucket_cors(Bucket=service.store.bucket)
    watched.errors = [error for error in watched.errors if not re.search("CORS policy|ERR_FAILED|403", error)]


def test_without_scripts_the_command_line_is_explained(
    service: Service, new_context: Callable[..., BrowserContext]
) -> None:
    page = new_context(java_script_enabled=False).new_page()
    page.goto(sign_in_path(service))
    page.goto("/ui/checkpoints")
    expect(page.get_by_text("cleanclip upload FILE")).to_be_visible()
    expect(page.locator("#upload")).to_be_hidden()


def test_an_unfinished_upload_of_the_project_is_cancelled_without_a_script(
    form: Page, service: Service
) -> None:
    created = service.ours.http.post("/v1/uploads", json={"filename": "left.pt", "size_bytes": 10})
    form.reload()
    form.get_by_text("1 unfinished upload of the project").click()
    form.get_by_role("button", name="Cancel the upload of left.pt").click()
    form.wait_for_url("**/ui/checkpoints")
    assert service.ours.http.get(f"/v1/uploads/{created.json()['id']}").json()["state"] == "cancelled"
