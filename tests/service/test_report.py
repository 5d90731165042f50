"""A report of a run: whole, closed to the outside, and harmless whatever its records say."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any, get_args
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from fastapi.testclient import TestClient

from service.runs.drawing import Scale, bars, cloud
from service.runs.html import visible
from service.runs.reproduce import asked_options
from service.score.schemas import ScoreOptions
from tests.service.conftest import RECORDS
from winnow.client import Client
from winnow.errors import NotFound
from winnow.settings import Settings
from winnow.spec import Method, RunSpec

SCRIPT = "<script>alert(1)</script>"
HOSTILE = [
    {
        "instruction": SCRIPT,
        "output": '"><img src=x onerror=alert(1)> {{ 7 * 7 }} {% raw %}',
        "source": SCRIPT,
    },
    {
        "instruction": "bidi \u202egnp.exe\u202c \u2066x",
        "output": "</style></div></body> &amp; ]]>",
    },
    {"instruction": "long", "output": "word " * 200_000, "source": "\u202eb"},
    {"instruction": "nul \0 esc \x1b[31m", "output": "javascript:alert(1) \ud800", "id": SCRIPT},
    {"instruction": "none", SCRIPT: SCRIPT},
]
ALLOWED = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "header",
        "h1",
        "h2",
        "h3",
        "p",
        "dl",
        "div",
        "dt",
        "dd",
    ),
    *(
        "small",
        "b",
        "i",
        "span",
        "svg",
        "line",
        "text",
        "rect",
        "path",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    ),
    *("article", "code", "pre", "footer"),
}
VOID = {"meta"}


class Page(HTMLParser):
    """Collects what stands in a file, and refuses a tag that is never closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.style = ""
        self.policy = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if dict(attrs).get("http-equiv") == "Content-Security-Policy":
            self.policy = str(dict(attrs)["content"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["style"]:
            self.style += data
        else:
            self.texts.append(data)


@pytest.fixture
def hostile(client: TestClient, work: Callable[[], None]) -> httpx.Response:
    """The report of a run on records that mean harm, in a file whose name does too."""
    body = "".join(json.dumps(record) + "\n" for record in [*HOSTILE, *RECORDS])
    name = "$(id) '\"><script>\u202e.jsonl"
    started = client.post("/score", params={"name": name}, content=body).json()
    work()
    return client.get(f"/runs/{started['id']}/report")


def test_hostile_records_are_text(hostile: httpx.Response) -> None:
    assert hostile.status_code == 200, hostile.text
    assert len(hostile.content) < 200_000
    page = Page(hostile.text)
    assert page.tags <= ALLOWED
    assert not {name for name in page.attributes if name.startswith("on")}
    assert not page.attributes & {"src", "href", "style", "action", "srcset", "xlink:href"}
    text = "".join(page.texts)
    assert text.count(SCRIPT) >= 3
    assert "{{ 7 * 7 }} {% raw %}" in text
    assert "</style></div></body> &amp; ]]>" in text
    assert "bidi U+202Egnp.exeU+202C U+2066x" in text
    assert "nul U+0000 esc U+001B[31m" in text
    assert "the first 700 of 1,000,000 characters" in text
    assert not re.search("[\u202a-\u202e\u2066-\u2069\0\x1b]", hostile.text)
    assert "missing_field" in text


def test_a_report_is_closed_to_the_outside(hostile: httpx.Response) -> None:
    page = Page(hostile.text)
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert page.policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    assert hostile.headers["Content-Security-Policy"] == (
        f"{page.policy}; frame-ancestors 'none'; sandbox"
    )
    assert hostile.headers["Content-Type"] == "text/html; charset=utf-8"
    assert hostile.headers["Content-Disposition"].startswith('inline; filename="run_')
    assert hostile.headers["X-Content-Type-Options"] == "nosniff"
    assert "//" not in re.sub(r"<pre>.*?</pre>", "", hostile.text, flags=re.DOTALL)


def test_a_report_has_the_figures_of_its_run(live: httpx.Client, work: Callable[[], None]) -> None:
    key = live.headers["Authorization"].removeprefix("Bearer ")
    with Client(str(live.base_url), key) as winnow:
        started = winnow.score(RECORDS)
        work()
        run = winnow.run(started.id)
        report = winnow.report(run)
        kept = winnow.manifest(run=run.id, ratio=0.1)
        with pytest.raises(NotFound):
            winnow.report("run_none")
    text = " ".join(" ".join(Page(report).texts).split())
    assert run.summary is not None
    assert f"Rows read {len(RECORDS)}" in text
    assert f"{run.summary['quantiles']['50']:.4f}" in text
    assert str(run.revision) in text
    assert re.search(r"Question \d+ Answer Answer number \d+", text)
    assert (f"down to {kept['threshold'] or 0:.4f}" in text) == bool(kept["rows_selected"])


@pytest.mark.parametrize("method", ["learning_percentage", "s2l"])
def test_what_a_report_says_repeats_the_run(
    client: TestClient, learned: Callable[..., dict[str, Any]], method: str
) -> None:
    run = learned(method=method, name="it's")
    shell = "".join(Page(client.get(f"/runs/{run['id']}/report").text).texts)
    assert "down to" not in shell
    assert bool(re.search(r"A tenth by score\s*2up to", shell)) == (method == "learning_percentage")
    command = shell[shell.index("curl -sS") :].splitlines()[0]
    _, _, url, _, _, _, data = shlex.split(command)
    assert data == "@it's"
    query = dict(parse_qsl(urlsplit(url).query))
    again = client.post("/score", params=query, json=RECORDS)
    assert again.status_code == 202, again.text
    assert again.json()["options"] == run["options"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"template": "chat", "statistic": "loss_ratio", "max_length": 128, "dtype": "bfloat16"},
        {"embeddings": "sentence-transformers:mini", "num_clusters": 7, "cache": True},
        {"method": "learning_percentage", "compat": "small2large", "embeddings": False},
        {"method": "learning_percentage", "statistic": "approx", "n_epochs": 1},
        {"method": "s2l", "n_epochs": 2, "points": 5, "learning_rate": 1e-4, "batch_size": 4},
        {"method": "s2l", "checkpoints": "mine", "n_epochs": 2},
    ],
)
def test_the_options_to_ask_for_mean_the_same_run(options: dict[str, Any]) -> None:
    spec = RunSpec.make(**options)
    assert RunSpec.make(**asked_options(spec)) == spec


@pytest.mark.parametrize("method", get_args(Method))
@pytest.mark.parametrize("cache", [True, False])
def test_an_installation_with_a_cache_takes_the_options_to_ask_for(
    settings: Settings, method: Method, cache: bool
) -> None:
    spec = ScoreOptions(method=method).spec(settings.model_copy(update={"cache": cache}))
    again = ScoreOptions(**asked_options(spec)).spec(settings.model_copy(update={"cache": cache}))
    assert again == spec


def test_figures_keep_within_their_frame() -> None:
    assert [bar.height for bar in bars([0.0, 1.0, 2.0, 3.0], [0, 5, 10]).bars] == [86.0, 172.0]
    one = cloud([5.0], [0.5], low=0.0, high=1.0)
    assert (one.outside, one.path, [tick.label for tick in one.x.ticks()]) == (
        0,
        "M380 118h0",
        ["5"],
    )
    many = cloud([1.0, 10.0, 5000.0], [0.5, 0.6, 9.0], low=0.0, high=1.0)
    assert (many.outside, [tick.label for tick in many.x.ticks()]) == (
        1,
        ["1", "10", "100", "1,000"],
    )
    labels = [tick.label for tick in Scale(0.31, 1.19, 0, 100).ticks()]
    assert labels == ["0.4", "0.6", "0.8", "1"]
    assert [tick.at for tick in Scale(2.0, 2.0, 0, 100).ticks()] == [50.0]


def test_hidden_characters_are_shown_once() -> None:
    assert visible("a<\u202e>\r\n\tb") == "a&lt;<i>U+202E</i>&gt;\n\tb"
    assert visible(None) == "None"
