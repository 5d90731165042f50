"""A push into a Label Studio that is slow to do what it was asked, over HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest

from winnow.client.label_studio import LabelStudio, Project, Unanswered
from winnow.client.label_studio_push import Pushed, push
from winnow.labelling.fitted import FittedTask
from winnow.labelling.task_fields import TaskFields

PROJECT = Project(id=1, title="Answers", label_config="")
KEYS = ["a", "b", "twins", "twins", "c"]
TASKS = [
    FittedTask(key=key, data={"winnow_key": key}, prediction={"score": 0.5}, lacking=frozenset())
    for key in KEYS
]


@dataclass
class SlowStudio:
    """Answers the first import with 504, and does it `late_s` after that; None: never."""

    late_s: float | None = 0.0
    tasks: list[dict[str, Any]] = field(default_factory=list)
    num_imports: int = 0
    says_more: bool = False
    url: str = ""

    def listed(self, query: str) -> dict[str, Any]:
        filters = json.loads(parse_qs(query)["query"][0])["filters"]["items"]
        after = next(each["value"] for each in filters if each["filter"] == "filter:tasks:id")
        lacking = (
            len(filters) > 1
        )  # asks for tasks without a prediction, and every import brings them
        found = [] if lacking else [each for each in self.tasks if each["id"] > after]
        return {"tasks": found, "total": len(found) + self.says_more}

    def take(self, tasks: list[dict[str, Any]]) -> tuple[int, dict[str, Any]]:
        self.num_imports += 1
        if self.num_imports > 1:
            self.make(tasks)
            return 201, {"task_ids": []}
        if self.late_s is not None:
            threading.Timer(self.late_s, self.make, [tasks]).start()
        return 504, {}

    def make(self, tasks: list[dict[str, Any]]) -> None:
        begin = len(self.tasks) + 1
        self.tasks += [
            {"id": number, "data": each["data"]} for number, each in enumerate(tasks, begin)
        ]


class Handler(BaseHTTPRequestHandler):
    """The two routes of Label Studio's API that a push needs."""

    @property
    def studio(self) -> SlowStudio:
        return cast("Server", self.server).studio

    def do_GET(self) -> None:
        self.answer(200, self.studio.listed(urlsplit(self.path).query))

    def do_POST(self) -> None:
        tasks = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer(*self.studio.take(tasks))

    def answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """An HTTP server in front of a `SlowStudio`."""

    studio: SlowStudio


@pytest.fixture
def studio() -> Iterator[SlowStudio]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.studio = SlowStudio(url=f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.studio
        server.shutdown()
        thread.join()


def push_to(studio: SlowStudio, *, shows_within_s: float) -> Pushed:
    with LabelStudio(studio.url, "token") as connection:
        return push(
            connection,
            PROJECT,
            TASKS,
            model_version="run_x",
            fields=TaskFields(),
            shows_within_s=shows_within_s,
        )


def keys_in(studio: SlowStudio) -> list[str]:
    return [each["data"]["winnow_key"] for each in studio.tasks]


def test_an_import_that_is_done_after_its_answer_failed_is_waited_for(studio: SlowStudio) -> None:
    studio.late_s = 0.7
    done = push_to(studio, shows_within_s=60)
    assert done == Pushed(created=5, predicted=0, known=0)
    assert (studio.num_imports, keys_in(studio)) == (1, KEYS)


def test_an_import_that_does_not_show_is_not_sent_again_but_by_a_second_push(
    studio: SlowStudio,
) -> None:
    studio.late_s = None
    with pytest.raises(Unanswered, match=r"failed at .*504.* 0 show after 0\.2 s.* push again"):
        push_to(studio, shows_within_s=0.2)
    assert studio.num_imports == 1
    assert push_to(studio, shows_within_s=0.2).created == 5
    assert keys_in(studio) == KEYS


def test_tasks_of_others_and_a_page_without_tasks_stop_no_push(studio: SlowStudio) -> None:
    foreign: list[Any] = [["a"], {"a": 1}, 7, ""]
    studio.make([{"data": {"winnow_key": key, "winnow_task": key}} for key in foreign])
    studio.says_more = True
    assert push_to(studio, shows_within_s=30).created == 5
    assert push_to(studio, shows_within_s=30) == Pushed(created=0, predicted=0, known=5)
