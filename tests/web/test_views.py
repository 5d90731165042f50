"""Every view at both widths and in both themes: nothing runs over, everything has a name, the keyboard reaches it."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.web.conftest import NARROW, WIDE
from tests.web.data import completed, record
from tests.web.gateway import Worker

NAMELESS = """() => [...document.querySelectorAll("button, input, select, a, [role=img], [role=region], dialog")]
    .filter((each) => each.checkVisibility())
    .filter((each) => !(each.ariaLabel || each.getAttribute("aria-labelledby") || each.textContent.trim() ||
                        each.labels?.length))
    .map((each) => each.outerHTML)"""

CONTRAST = """() => {
  const probe = document.createElement("canvas").getContext("2d");
  const rgb = (colour) => {
    probe.fillStyle = colour;
    probe.fillRect(0, 0, 1, 1);
    return [...probe.getImageData(0, 0, 1, 1).data];
  };
  const light = (colour) => {
    const linear = (part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = rgb(colour).map((part) => linear(part / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor;
      if (rgb(colour)[3] !== 0 && colour !== "rgba(0, 0, 0, 0)") return colour;
    }
    return "white";
  };
  const texts = [...document.querySelectorAll("h1, h2, p, dt, dd, th, td, label, button, a, summary, span.status")];
  return texts.filter((each) => each.checkVisibility() && !each.disabled && each.textContent.trim()).map((each) => {
    const [a, b] = [light(getComputedStyle(each).color), light(ground(each))].sort((x, y) => y - x);
    return [(a + 0.05) / (b + 0.05), each.outerHTML.slice(0, 120)];
  }).filter(([ratio]) => ratio < 4.5);
}"""


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_every_view_fits_is_named_and_can_be_read(
    open_tab: Callable[..., Page],
    url: str,
    worker: Worker,
    api: httpx.Client,
    key: str,
    size: dict[str, int],
) -> None:
    records = [record(n) for n in range(60)]
    runs = [completed(api, worker, records, template=name)["id"] for name in ("plain", "alpaca")]
    job = api.post(
        "/v1/fine_tuning/jobs",
        json={"model": "winnow-mini", "training_file": f"subset:{runs[0]}?ratio=0.5"},
    ).json()["id"]
    page = open_tab(key=key, viewport=size)
    for path, sign in (
        ("", "Fine-tunes"),
        (f"runs/{runs[0]}", "Compare with another run"),
        (f"compare/{runs[0]}/{runs[1]}", "Agreement"),
        (f"jobs/{job}", "What happened"),
    ):
        page.goto(f"{url}/#/{path}")
        expect(page.get_by_role("heading", name=sign)).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], path
        assert page.evaluate(NAMELESS) == [], path
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            assert page.evaluate(CONTRAST) == [], (path, theme)
        assert page.get_by_role("heading", level=1).count() == 1, path
    page.set_viewport_size(NARROW)
    expect(page.locator(".plot svg").first).to_have_attribute("width", "376")


def test_the_theme_is_switched_and_remembered(page: Page, url: str) -> None:
    page.goto(url)
    ground = "() => getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    button = page.get_by_role("button", name="Theme")
    button.click()
    assert page.evaluate(ground) == light
    button.click()
    expect(button).to_have_text("Theme: dark")
    assert page.evaluate(ground) != light
    page.reload()
    expect(button).to_have_text("Theme: dark")


def test_the_keyboard_walks_in_the_order_of_the_page(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.get_by_role("heading", name="Fine-tunes")).to_be_visible()
    reached = []
    for _ in range(6):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.textContent.trim() || document.activeElement.id")
        )
        assert (
            page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
            or reached[-1] == "file"
        )
    assert reached == [
        "Skip to the content",
        "Winnow",
        "API",
        "Forget the key",
        "Theme: system",
        "file",
    ]
    # The input of the drop zone is not seen; the zone shows the focus for it.
    assert page.locator(".drop").evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
