"""Records are written by strangers: whatever they hold is text, and shows what it is."""

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.web.data import completed, record
from tests.web.gateway import Worker

SCRIPT = "<script>window.pwned = 1</script>"
IMAGE = '<img src=x onerror="window.pwned = 2"><b>bold</b>'
LINK = '"><svg/onload=window.pwned=3><a href="javascript:window.pwned=4">click</a>'
BIDI = "pay \u202egnihton\u202c now\u2066 isolated"
UNSEEN = "zero\u200bwidth\u0000nul\u001bescape"
LONG = 1_000_000

RECORDS = [
    {"instruction": SCRIPT, "input": "", "output": IMAGE, "source": "<b>source</b>"},
    {"instruction": LINK, "input": "", "output": f"{LINK} and more words", "source": LINK},
    {"instruction": f"Read: {BIDI}", "input": "", "output": BIDI, "source": "\u202eecruos"},
    {"instruction": f"Read: {UNSEEN}", "input": "", "output": f"{UNSEEN} it is"},
    {"instruction": "Repeat a letter.", "input": "", "output": "a" * (LONG - 4) + "<i>z"},
    {"instruction": "No answer here", "input": "", "output": "", "source": SCRIPT},
]


@pytest.fixture
def run(api: httpx.Client, worker: Worker) -> str:
    """A completed run whose every text is an attack, the name of its dataset too."""
    made = completed(api, worker, [*RECORDS, *(record(n) for n in range(20))], name=IMAGE)
    return str(made["id"])


def nothing_ran(page: Page) -> None:
    assert page.evaluate("window.pwned") is None
    for element in ("img", "b", "i", "svg a", "a[href^='javascript']", "main script"):
        assert page.locator(f"main {element}, dialog {element}").count() == 0, element


def open_row(page: Page, text: str) -> None:
    page.get_by_label("Search").fill(text)
    page.locator("button.record").filter(has_text=text).click()
    expect(page.get_by_role("dialog").locator("section.turn").first).to_be_visible()


def test_markup_is_shown_as_it_was_written(page: Page, url: str, run: str) -> None:
    page.goto(f"{url}/#/runs/{run}")
    expect(page.get_by_role("heading", level=1)).to_have_text(IMAGE)
    page.get_by_label("Show").select_option("all")
    table = page.locator("table.records")
    for text in (SCRIPT, IMAGE, LINK):
        expect(table.get_by_text(text).first).to_be_visible()
    sources = page.get_by_role("region", name="Sources", exact=True).last
    expect(sources).to_contain_text("<b>source</b>")
    open_row(page, "window.pwned = 1")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("group", name="assistant")).to_have_text(IMAGE)
    dialog.get_by_text("The record as it came in").click()
    expect(dialog.get_by_role("group", name="Record")).to_contain_text("<script>")
    nothing_ran(page)
    page.keyboard.press("Escape")
    page.goto(url)
    expect(page.get_by_role("link", name=IMAGE)).to_be_visible()
    nothing_ran(page)


def test_characters_that_turn_or_hide_text_are_marked_and_isolated(
    page: Page, url: str, run: str
) -> None:
    page.goto(f"{url}/#/runs/{run}")
    open_row(page, "gnihton")
    answer = page.get_by_role("dialog").get_by_role("group", name="assistant")
    expect(answer).to_have_text("pay RLOgnihtonPDF nowLRI isolated")
    assert answer.locator("bdi").first.evaluate("e => getComputedStyle(e).unicodeBidi") == "isolate"
    page.keyboard.press("Escape")
    open_row(page, "width")
    answer = page.get_by_role("dialog").get_by_role("group", name="assistant")
    expect(answer).to_have_text("zeroU+200BwidthU+0000nulU+001Bescape it is")
    page.keyboard.press("Escape")
    whole = page.locator("main").inner_text()
    assert not {"\u202e", "\u202c", "\u2066", "\u200b"} & set(whole)


def test_an_answer_of_a_megabyte_is_cut_and_can_be_read_on(page: Page, url: str, run: str) -> None:
    page.goto(f"{url}/#/runs/{run}")
    open_row(page, "Repeat a letter")
    answer = page.get_by_role("dialog").get_by_role("group", name="assistant")
    more = answer.get_by_role("button")
    expect(more).to_have_text("Show 100,000 more of 1,000,000 characters")
    assert len(answer.inner_text()) < 5_000
    for _ in range(10):
        more.click()
    expect(more).to_have_count(0)
    assert answer.inner_text().endswith("aaaa<i>z")
    nothing_ran(page)
