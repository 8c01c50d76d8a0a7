"""The inbox behind https, in a real browser: it takes cookies that say who may have set them."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.room import application, served
from tests.browser.test_stories import visit
from tests.desk import Desk
from tests.support.certificates import certificate

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
OURS = {"__Host-switchyard_443", "__Host-switchyard_form_443"}


def test_cookies_that_only_our_own_site_can_have_set(browser: Browser, desk: Desk, tmp_path: Path) -> None:
    with (
        served(application(desk), certificate(tmp_path).server_context()) as address,
        visit(browser, address, ignore_https_errors=True) as page,
    ):

        def names() -> set[str]:
            return {cookie["name"] for cookie in page.context.cookies()} - {"zone"}

        assert names() == OURS
        page.locator("#me-menu summary").click()
        page.locator("#me-menu button[value=away]").click()
        expect(page.locator(".toast")).to_contain_text("You are away")
        page.locator("#me-menu summary").click()
        page.get_by_role("button", name="Sign out").click()
        expect(page.locator("#email")).to_be_attached()
        assert "__Host-switchyard_443" not in names()
