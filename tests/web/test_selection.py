"""The page of a run: the ratio by mouse and by keyboard, a hundred thousand rows, what else there is to see."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.sync_api import Page, Response, expect

from tests.web.data import completed, record, scored_straight
from tests.web.gateway import Worker
from winnow.settings import Settings

MANY = 100_000
MOST_BYTES = 400_000
"""Of what a page over 100,000 rows asks for besides its own files; the rows together are 10 million."""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """All blocks in one unit, so that their scores can be written at once."""
    return settings.model_copy(update={"blocks_per_unit": 128})


def kept(page: Page) -> int:
    return int(page.locator("#rows-kept").inner_text().replace(",", ""))


def settled(page: Page) -> None:
    """The figure is drawn, and the server has answered what was asked for."""
    expect(page.locator(".plot .points").first).to_be_visible()
    expect(page.locator(".outcome")).to_have_attribute("aria-busy", "false")


def remembered(page: Page, ratio: str) -> None:
    """The address names this ratio, which it does once the hand has come to rest."""
    expect(page).to_have_url(re.compile(rf"ratio={re.escape(ratio)}(&|$)"))


def test_a_hundred_thousand_rows(page: Page, url: str, worker: Worker, api: httpx.Client) -> None:
    run = scored_straight(api, worker, MANY)
    answers: list[Response] = []
    page.on("response", lambda each: answers.append(each) if "/assets/" not in each.url else None)
    page.goto(f"{url}/#/runs/{run['id']}")
    expect(page.locator("#rows-kept")).to_have_text("10,000")
    expect(page.locator(".plot .points").first).to_be_visible()
    rows = page.locator("table.records tbody tr")
    expect(rows).to_have_count(12)
    assert sum(len(each.body()) for each in answers) < MOST_BYTES
    expect(rows.and_(page.locator(".kept"))).to_have_count(6)
    expect(page.locator(".rows")).to_contain_text("99,900 rows")

    heads = page.locator("table.records").get_by_role("columnheader")
    page.get_by_label("Show").select_option("all")
    expect(rows).to_have_count(25)
    expect(heads.filter(has_text="Score")).to_have_attribute("aria-sort", "descending")
    first = rows.first.inner_text()
    page.get_by_role("button", name="Next").click()
    expect(rows.first).not_to_have_text(first)
    page.get_by_role("button", name="Previous").click()
    expect(rows.first).to_have_text(first, use_inner_text=True)
    heads.get_by_role("button", name="Tokens").click()
    expect(heads.filter(has_text="Tokens")).to_have_attribute("aria-sort", "descending")
    expect(rows.first.locator("[data-title=Tokens]")).to_have_text("299")
    page.get_by_label("Search").fill("number 77777?")
    expect(rows).to_have_count(1)
    expect(rows.first.locator("[data-title=Row]")).to_have_text("77,777")
    page.get_by_label("Search").fill("")
    page.get_by_label("Show").select_option("rejected")
    expect(page.locator(".rows")).to_contain_text("100 rows")


def test_the_threshold_is_dragged(page: Page, url: str, worker: Worker, api: httpx.Client) -> None:
    run = scored_straight(api, worker, 5000)
    page.goto(f"{url}/#/runs/{run['id']}")
    settled(page)
    assert kept(page) == 500
    handle = page.locator(".handle")
    box = handle.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 12, box["y"] + 100)
    page.mouse.down()
    for step in range(1, 11):
        page.mouse.move(box["x"] + 12 - 8 * step, box["y"] + 100)
    while_dragging = float(handle.locator("output").inner_text().split()[-1])
    page.mouse.up()
    settled(page)
    ratio = f"{float(page.get_by_label('Ratio in percent').input_value()) / 100:.5g}"
    remembered(page, ratio)
    manifest = api.get("/subsets/manifest", params={"run": run["id"], "ratio": ratio}).json()
    assert kept(page) == manifest["rows_selected"] > 600
    assert handle.locator("output").inner_text() == f"≥ {manifest['threshold']:.4f}"
    assert while_dragging == pytest.approx(manifest["threshold"], abs=0.005)
    told = page.locator(".outcome").inner_text()
    for rule in ("score_at_least_1", "beyond_k", "rejected"):
        assert f"{manifest['taken_by_rule'][rule]:,}" in told


def test_the_ratio_by_keyboard(page: Page, url: str, worker: Worker, api: httpx.Client) -> None:
    run = completed(api, worker, [record(n) for n in range(400)])
    page.goto(f"{url}/#/runs/{run['id']}")
    settled(page)
    slider = page.get_by_role("slider", name="Keep")
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#rows-kept")).to_have_text("44")
    expect(slider).to_have_attribute(
        "aria-valuetext", re.compile(r"11 percent, 44 of 400 rows, score at least 0\.\d+")
    )
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#rows-kept")).to_have_text("36")
    remembered(page, "0.09")
    exact = page.get_by_label("Ratio in percent")
    exact.fill("2.5")
    exact.press("Enter")
    expect(page.locator("#rows-kept")).to_have_text("10")
    remembered(page, "0.025")
    page.get_by_label("Choose").select_option("random")
    settled(page)
    expect(page.locator(".handle")).to_be_hidden()
    expect(page).to_have_url(re.compile("strategy=random"))
    page.reload()
    expect(page.get_by_label("Choose")).to_have_value("random")
    expect(page.locator("#rows-kept")).to_have_text("10")


def test_a_row_is_read_whole_and_the_dialog_closes_with_escape(
    page: Page, url: str, worker: Worker, api: httpx.Client
) -> None:
    run = completed(api, worker, [record(n) for n in range(40)])
    page.goto(f"{url}/#/runs/{run['id']}")
    settled(page)
    page.get_by_label("Search").fill("number 17?")
    expect(page.locator("table.records tbody tr")).to_have_count(1)
    button = page.get_by_role("button", name=re.compile("What is number 17"))
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading", name="Row 17")).to_be_visible()
    expect(dialog).to_contain_text("assistant")
    dialog.get_by_text("The record as it came in").click()
    expect(dialog.get_by_label("Record")).to_contain_text('"source": "code"')
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(button).to_be_focused()


def test_two_runs_are_compared(page: Page, url: str, worker: Worker, api: httpx.Client) -> None:
    records = [record(n) for n in range(60)]
    first = completed(api, worker, records, name="plain")
    completed(api, worker, records, name="chatty", template="alpaca")
    page.goto(f"{url}/#/runs/{first['id']}")
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", name="Compare two runs")).to_be_visible()
    expect(page.get_by_role("link", name="chatty")).to_be_visible()
    expect(page.locator("main")).to_contain_text("Spearman")
    expect(page.get_by_role("rowheader", name="10 %", exact=True)).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("plain")
