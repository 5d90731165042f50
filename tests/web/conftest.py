"""The dashboard in a real Chromium: `make test-web`. A run without this folder named never collects it.

Whatever a test does, its page may break no rule of its security policy, ask no other host, and throw nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.web.gateway import Gateway, Worker
from winnow.settings import Settings
from winnow.store.session import Database

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDE = {"width": 1280, "height": 900}
NARROW = {"width": 400, "height": 800}
PATIENCE_MS = 20_000

WATCH = """
document.addEventListener("securitypolicyviolation", (event) =>
    violated(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber} ${event.sample}`));
"""


def _chromium() -> str:
    named = os.environ.get("WINNOW_TEST_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None or not Path(found).is_file():
        pytest.exit(
            "The tests of the dashboard need a Chromium: apt-get install chromium, or name one with "
            "WINNOW_TEST_CHROMIUM.",
            returncode=1,
        )
    return found


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The browser of this machine; none is downloaded."""
    path = _chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def gateway(settings: Settings) -> Gateway:
    """A gateway that is not served yet."""
    return Gateway(settings)


@pytest.fixture
def url(gateway: Gateway) -> Iterator[str]:
    """A gateway that is served all the time."""
    with gateway.serving() as url:
        yield url


@pytest.fixture
def worker(settings: Settings, database: Database) -> Worker:
    """A worker that does nothing by itself."""
    return Worker(settings, database)


@pytest.fixture
def key(make_key: Callable[[str], str]) -> str:
    """A key of `alice`."""
    return make_key("alice")


@pytest.fixture
def api(url: str, key: str) -> Iterator[httpx.Client]:
    """The API, asked by `alice` beside the page."""
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=url, headers=headers, timeout=30) as client:
        yield client


@dataclass
class Tab:
    """A page of the browser, and what went wrong in it."""

    page: Page
    violations: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def watch(self) -> None:
        context = self.page.context
        context.expose_binding("violated", lambda _, told: self.violations.append(told))
        context.add_init_script(WATCH)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on(
            "dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss())
        )
        self.page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))

    def check(self) -> None:
        """Fail if the page did anything that it may not do."""
        assert self.violations == []
        assert self.errors == []
        assert self.dialogs == []
        # Saved files and images in styles have no host.
        assert len(self.hosts - {""}) <= 1, self.hosts


@pytest.fixture
def open_tab(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens tabs, each a browser of its own without memory of another; all are checked at the end."""
    contexts: list[BrowserContext] = []
    tabs: list[Tab] = []
    expect.set_options(timeout=PATIENCE_MS)

    def make(*, key: str | None = None, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": WIDE, "accept_downloads": True, **options})
        context.set_default_timeout(PATIENCE_MS)
        if key is not None:
            context.add_init_script(f"sessionStorage.setItem('winnow-key', '{key}')")
        contexts.append(context)
        tabs.append(Tab(context.new_page()))
        tabs[-1].watch()
        return tabs[-1].page

    yield make
    for context in contexts:
        context.close()
    for tab in tabs:
        tab.check()


@pytest.fixture
def page(open_tab: Callable[..., Page], key: str) -> Page:
    """A tab in which `alice` has entered her key."""
    return open_tab(key=key)
