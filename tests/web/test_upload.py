"""From a file to a subset, as somebody who has never read a manual does it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from playwright.sync_api import Page, expect

from tests.web.data import completed, lines, record
from tests.web.gateway import Worker

BAD = ["not a record", {"instruction": "Anybody there?", "output": ""}]


def drop(page: Page, content: bytes, name: str = "train.jsonl") -> None:
    page.locator("#file").set_input_files(
        {"name": name, "mimeType": "application/octet-stream", "buffer": content}
    )


def test_a_dropped_file_becomes_a_subset(
    page: Page, url: str, worker: Worker, api: httpx.Client
) -> None:
    content = lines([*(record(n) for n in range(300)), *BAD])
    page.goto(url)
    with worker.running():
        drop(page, content)
        preview = page.get_by_role("region", name="train.jsonl")
        expect(preview.get_by_text("What is number 0?")).to_be_visible()
        expect(preview).to_contain_text("jsonl")
        expect(preview).to_contain_text(re.compile(r"Can be scored\s*300 \(99\.3 %\)"))
        expect(preview).to_contain_text("line 302")
        page.get_by_label("Name of the run").fill("first of all")
        page.get_by_role("button", name="Start scoring").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("first of all")
        expect(page.locator("#rows-kept")).to_have_text("30")
    assert page.title() == "first of all · Winnow"
    page.get_by_role("group").filter(has_text="empty answer").get_by_text("empty answer").click()
    expect(page.locator(".rejections:visible")).to_contain_text("line 302")

    with page.expect_download() as saving:
        page.get_by_role("button", name="Download").click()
    run = api.get("/runs").json()["data"][0]["id"]
    expected = api.get("/subsets", params={"run": run, "ratio": "0.1"}).content
    assert Path(saving.value.path()).read_bytes() == expected
    assert saving.value.suggested_filename == f"{run}-subset.jsonl"

    # The same bytes again are the same dataset: to look at them and leave must not take the run away.
    page.goto(url)
    with worker.running():
        drop(page, content)
        expect(page.get_by_role("button", name="Start scoring")).to_be_visible()
        page.get_by_role("button", name="Close").click()
        expect(page.get_by_role("button", name="Start scoring")).to_be_hidden()
    assert api.get(f"/runs/{run}").status_code == 200


def test_the_commands_that_are_shown_get_exactly_the_selection(
    page: Page, url: str, worker: Worker, api: httpx.Client, key: str, tmp_path: Path
) -> None:
    run = completed(api, worker, [record(n) for n in range(200)])
    page.goto(f"{url}/#/runs/{run['id']}?ratio=0.05&per=source")
    expect(page.locator("#rows-kept")).to_have_text("10")
    page.get_by_label("Order").select_option("score")
    page.get_by_label("Format").select_option("csv")
    page.get_by_label("Add each row's scores").check()
    asked = {"run": run["id"], "ratio": "0.05", "per": "source", "order": "score"}
    expected = api.get("/subsets", params=asked | {"format": "csv", "include": "scores"}).content
    env = {**os.environ, "WINNOW_API_KEY": key}
    for name, program in (("curl", ["bash"]), ("Python", [sys.executable])):
        page.get_by_text(name, exact=True).click()
        command = page.get_by_label(f"{name} command", exact=True).inner_text()
        subprocess.run([*program, "-"], input=command, text=True, env=env, cwd=tmp_path, check=True)
        saved = tmp_path / f"{run['id']}-subset.csv"
        assert saved.read_bytes() == expected, shlex.join(program)
        saved.unlink()
    with page.expect_download() as saving:
        page.get_by_role("button", name="Manifest").click()
    assert b'"rows_selected": 10' in Path(saving.value.path()).read_bytes()
    with page.expect_download() as saving:
        page.get_by_role("button", name="Report").click()
    assert b"<!doctype html>" in Path(saving.value.path()).read_bytes()[:100].lower()


def test_a_crafted_link_puts_nothing_into_the_commands(
    page: Page, url: str, worker: Worker, api: httpx.Client
) -> None:
    run = completed(api, worker, [record(n) for n in range(20)])
    code = quote("0.5,__import__('os').system('id')")
    page.goto(f"{url}/#/runs/{run['id']}?ratio={code}&strategy={code}&per={code}&order={code}")
    expect(page.locator("#rows-kept")).to_have_text("2")
    for name in ("curl", "Python"):
        page.get_by_text(name, exact=True).click()
        command = page.get_by_label(f"{name} command", exact=True)
        expect(command).to_contain_text("0.1")
        expect(command).not_to_contain_text("import__")


def test_a_stored_dataset_is_looked_at_again_and_deleted(
    page: Page, url: str, worker: Worker, api: httpx.Client
) -> None:
    completed(api, worker, [record(n) for n in range(20)])
    page.goto(url)
    line = page.get_by_role("region", name="Datasets").get_by_role("row").last
    line.get_by_role("link", name="Score again").click()
    expect(page.get_by_role("button", name="Start scoring")).to_be_visible()
    page.get_by_role("button", name="Close").click()
    expect(page.get_by_role("button", name="Start scoring")).to_be_hidden()
    # The lists are read again; a button of the earlier ones could not take the focus back.
    page.wait_for_load_state("networkidle")
    button = line.get_by_role("button", name="Delete")
    button.click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(button).to_be_focused()
    button.click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(button).to_have_count(0)
    assert api.get("/datasets").json()["data"] == api.get("/runs").json()["data"] == []


def test_what_is_no_dataset_is_refused_with_a_reason(page: Page, url: str) -> None:
    page.goto(url)
    drop(page, b"\x89PNG\r\n\x1a\n" + bytes(100), name="cat.png")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("cat.png was not accepted")
    expect(alert).to_contain_text("format")


def test_a_file_without_a_usable_row_says_so_before_it_is_scored(
    page: Page, url: str, worker: Worker, api: httpx.Client
) -> None:
    page.goto(url)
    with worker.running():
        drop(page, lines([{"output": "an answer"}] * 3))
        preview = page.get_by_role("region", name="train.jsonl")
        expect(preview.get_by_role("alert").first).to_contain_text("row")
        expect(preview).to_contain_text("line 3")
        expect(page.get_by_role("button", name="Start scoring")).to_be_disabled()
        page.get_by_role("button", name="Discard").click()
        expect(preview).to_be_hidden()
    assert api.get("/datasets").json()["data"] == []


def test_a_key_is_asked_for_and_shows_its_owner_his_own_things(
    open_tab: Callable[..., Page],
    make_key: Callable[[str], str],
    url: str,
    worker: Worker,
    api: httpx.Client,
    key: str,
) -> None:
    run: dict[str, Any] = completed(api, worker, [record(n) for n in range(20)], name="mine")
    page = open_tab()
    page.goto(url)
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("key")
    for _ in range(3):
        page.keyboard.press("Escape")
        expect(dialog).to_be_visible()
    page.get_by_label("Key", exact=True).fill("winnow_sk_wrong")
    page.get_by_label("Key", exact=True).press("Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("not known")
    page.get_by_label("Key", exact=True).fill(key)
    page.get_by_role("button", name="Use this key").click()
    expect(page.get_by_role("link", name="mine")).to_be_visible()
    assert page.evaluate("localStorage.length") == 0
    assert page.evaluate("document.cookie") == ""

    page.get_by_role("button", name="Forget the key").click()
    expect(dialog).to_be_visible()
    page.get_by_label("Key", exact=True).fill(make_key("bob"))
    page.get_by_label("Key", exact=True).press("Enter")
    expect(page.get_by_text("None yet.").first).to_be_visible()
    page.goto(f"{url}/#/runs/{run['id']}")
    expect(page.get_by_role("alert")).to_contain_text(run["id"])
