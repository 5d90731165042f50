"""The dashboard's files as they are sent. What the page does is tested in a browser: `make test-web`."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

HTML = {"Accept": "text/html,application/xhtml+xml"}


@pytest.fixture
def web(app: FastAPI) -> Iterator[TestClient]:
    """The gateway, asked by nobody: the page itself needs no key."""
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def referred(text: str) -> set[str]:
    return set(re.findall(r"/assets/([\w.-]+)", text)) | set(
        re.findall(r'from "\./([\w.-]+)"', text)
    )


def test_a_browser_gets_the_page_and_a_program_where_to_go(web: TestClient) -> None:
    page = web.get("/", headers=HTML)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "<main" in page.text
    assert web.get("/").json()["openapi"] == "/openapi.json"


def test_every_file_that_is_referred_to_is_there_and_nothing_else_is(web: TestClient) -> None:
    known: set[str] = set()
    waiting = referred(web.get("/", headers=HTML).text)
    while waiting:
        name = waiting.pop()
        answer = web.get(f"/assets/{name}")
        assert answer.status_code == 200, name
        known.add(name)
        if name != "plotly.min.js":
            waiting |= referred(answer.text) - known
    assert {"app.js", "run.js", "stream.js", "figures.css", "plotly.min.js"} <= known
    for name in ("nothing.js", "..%2f__init__.py", "%2e%2e/endpoints.py", "endpoints.py"):
        assert web.get(f"/assets/{name}").status_code == 404, name


def test_the_policy_allows_nothing_from_elsewhere_and_nothing_inline(web: TestClient) -> None:
    for answer in (web.get("/", headers=HTML), web.get("/assets/app.js")):
        policy = dict(
            part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; ")
        )
        assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert policy["trusted-types"] == "'none'"
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
    page = web.get("/", headers=HTML).text
    assert not re.search(r"<script(?![^>]*\bsrc=)|\sstyle=|\son\w+=|https?://", page)


def test_files_are_sent_once_and_compressed(web: TestClient) -> None:
    whole = web.get("/assets/app.js", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in whole.headers
    with web.stream("GET", "/assets/app.js", headers={"Accept-Encoding": "gzip"}) as packed:
        assert gzip.decompress(b"".join(packed.iter_raw())) == whole.content
    again = web.get("/assets/app.js", headers={"If-None-Match": whole.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["cache-control"] == "no-cache"
