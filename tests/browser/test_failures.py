"""What goes wrong is said by a page of ours: a form too large, a session that ended, a fault of ours."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Watched
from tests.integration.api.service import MIB, Service


@pytest.mark.parametrize("num_bytes", [3 * MIB, 12 * MIB])
def test_a_form_that_is_too_large_is_refused_by_a_page(
    page: Page, service: Service, watched: Watched, num_bytes: int
) -> None:
    page.goto("/ui/jobs/new")
    page.evaluate(
        "n => { const field = document.createElement('input');"
        " Object.assign(field, {type: 'hidden', name: 'metadata', value: 'x'.repeat(n)});"
        " document.getElementById('metadata').replaceWith(field); }",
        num_bytes,
    )
    with service.nothing_left_behind(), page.expect_navigation() as navigated:
        page.locator("#order").get_by_role("button", name="Order the job").click()
    answer = navigated.value
    assert answer.status == 413
    assert "script-src 'self'" in (answer.header_value("content-security-policy") or "")
    expect(page.get_by_role("alert")).to_contain_text("The form is larger than this page takes.")
    expect(page.locator("main")).to_contain_text("req_")
    expect(page.get_by_role("navigation", name="Main")).to_be_visible()
    watched.expect("413")
