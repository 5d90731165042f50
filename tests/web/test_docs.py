"""The page of the API works under its security policy: the tab that is checked breaks none of its rules."""

from __future__ import annotations

from playwright.sync_api import Page, expect


def test_an_operation_is_opened_and_tried(page: Page, url: str) -> None:
    page.goto(f"{url}/docs")
    page.locator("#operations-runs-list_runs").get_by_role("button").first.click()
    operation = page.locator(".opblock").filter(has_text="/healthz")
    operation.get_by_role("button").first.click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".live-responses-table")).to_contain_text("200")
