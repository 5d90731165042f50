"""The same three clicks on whole installations: the embedded one, and a service of processes on Postgres and Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests import servers
from tests.e2e.processes import TINY, command, running
from tests.web.data import lines, record
from winnow.settings import Settings

ROWS = 60
SERVICE = {
    "worker": ("worker", "--queues", "io,score", "--threads", "1"),
    "sweeper": ("sweep",),
    "gateway": ("serve", "--gateway-only", "--port", "0"),
}
SCORED_MS = 120_000


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[str]:
    """`winnow serve`, as a newcomer runs it."""
    with running(
        *("serve", "--port", "0", "--data-dir", tmp_path / "data"),
        env={"WINNOW_MODELS": str(TINY)},
        log=tmp_path / "serve.log",
        cwd=tmp_path,
    ) as serving:
        yield serving.url()


@pytest.fixture
def service(settings: Settings, tmp_path: Path) -> Iterator[str]:
    """A worker, a sweeper and a gateway, each a process of its own."""
    env = servers.service_env(settings) | {"WINNOW_MODELS": str(TINY)}
    with ExitStack() as stack:
        started = {
            name: stack.enter_context(
                running(*arguments, env=env, log=tmp_path / f"{name}.log", cwd=tmp_path)
            )
            for name, arguments in SERVICE.items()
        }
        yield started["gateway"].url()


def test_three_clicks_in_the_embedded_mode(open_tab: Callable[..., Page], embedded: str) -> None:
    click_through(open_tab(), embedded)


def test_the_same_three_clicks_on_postgres_and_redis(
    open_tab: Callable[..., Page], service: str, settings: Settings, tmp_path: Path
) -> None:
    env = servers.service_env(settings)
    key = command("keys", "create", "--owner", "ann", cwd=tmp_path, env=env).strip()
    click_through(open_tab(key=key), service)


def click_through(page: Page, url: str) -> None:
    """Drop a file, start, take the subset."""
    content = lines([record(number) for number in range(ROWS)])
    page.goto(url)
    page.locator("#file").set_input_files(
        {"name": "train.jsonl", "mimeType": "application/octet-stream", "buffer": content}
    )
    start = page.get_by_role("button", name="Start scoring")
    expect(start).to_be_enabled(timeout=SCORED_MS)
    start.click()
    expect(page.locator("#rows-kept")).to_have_text("6", timeout=SCORED_MS)
    with page.expect_download() as saving:
        page.get_by_role("button", name="Download").click()
    kept = Path(saving.value.path()).read_bytes().splitlines()
    assert len(kept) == ROWS // 10
    assert set(kept) <= set(content.splitlines())
