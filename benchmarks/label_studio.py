"""The round trip with a real Label Studio: 5,000 tasks pushed, and predictions of 1,000 tasks retrieved in one request.

The clock of a push runs over the whole command: reading the project, fetching the tasks of the run, importing them.
Beside it stands Label Studio's own import of the same tasks, as a file that was made before. Retrieving is what the
button in the Data Manager does: Label Studio sends the tasks to Winnow's backend in one request and stores what it
says; beside it stands its own import of as many predictions that it is given. Scores are drawn at random: no figure
here is about scoring.

Label Studio is the one of `make venv-label-studio`, on SQLite.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import cli
from benchmarks.datasets import write_jsonl
from benchmarks.installation import Installation, installation
from benchmarks.label_studio_server import StudioServer, label_studio
from benchmarks.report import Figure, table
from benchmarks.subset import scored_run
from winnow.client import Client

CONFIG = """\
<View>
  <Text name="prompt" value="$instruction"/>
  <Text name="answer" value="$output"/>
  <Choices name="verdict" toName="answer">
    <Choice value="keep"/> <Choice value="drop"/> <Choice value="check"/>
  </Choices>
</View>
"""
READY_S = 120.0

T = TypeVar("T")


def measure(rows: int, retrieved: int) -> list[Figure]:
    """Every figure of this benchmark."""
    with (
        tempfile.TemporaryDirectory(prefix="winnow-bench-") as folder,
        label_studio(Path(folder)) as studio,
        installation() as service,
    ):
        source = service.folder / "source.jsonl"
        write_jsonl(source, rows=rows)
        run = scored_run(service, source, rows)
        return [
            *_push(studio, service, run, rows),
            *_retrieve(studio, service, run, source, retrieved),
        ]


def _push(studio: StudioServer, service: Installation, run: str, rows: int) -> list[Figure]:
    file = service.folder / "tasks.json"
    with Client(service.url) as client:
        file.write_bytes(b"".join(client.label_studio_tasks(run)))
    own = studio.new_project("Own import", CONFIG)
    with file.open("rb") as body:
        path = f"/api/projects/{own}/import"
        answer, own_s = _timed(lambda: studio.http.post(path, files={"file": body}))
    counts = answer.raise_for_status().json()
    assert counts["task_count"] == counts["prediction_count"] == rows, counts

    project = studio.new_project("Push", CONFIG)
    arguments = [
        *("label-studio", "push", run, "--order", "hardest", "--winnow-url", service.url),
        *("--url", studio.url, "--token", studio.token, "--project", str(project)),
    ]
    said, push_s = _timed(lambda: _command(arguments))
    assert f"{rows:,} tasks made" in said, said
    said, again_s = _timed(lambda: _command(arguments))
    assert f"0 tasks made, 0 predictions added to tasks that were there, {rows:,} there" in said
    baseline = "Label Studio's import of the same tasks as a file"
    return [
        Figure(what=what, value=seconds, unit="s", baseline=baseline, baseline_value=own_s)
        for what, seconds in (
            (f"push of {rows:,} tasks with predictions, hardest first", push_s),
            ("the same push again, which adds nothing", again_s),
        )
    ]


def _retrieve(
    studio: StudioServer, service: Installation, run: str, source: Path, rows: int
) -> list[Figure]:
    with source.open("rb") as lines:
        records = [json.loads(line) for line in islice(lines, rows)]
    given, own_s = _own_predictions(studio, records, run)
    project = studio.new_project("Retrieve", CONFIG)
    studio.post(f"/api/projects/{project}/import", records)
    tasks = studio.get("/api/tasks/", project=project, page_size=rows)["tasks"]
    url = f"{service.url}/label-studio/{run}"
    asked = {"tasks": tasks, "label_config": CONFIG}
    results, predict_s = _timed_when_ready(service, f"{url}/predict", asked)
    assert len(results) == rows
    studio.post("/api/ml/", {"project": project, "title": "Winnow", "url": url})
    action = {"id": "retrieve_tasks_predictions", "project": project}
    everything = {"selectedItems": {"all": True, "excluded": []}}
    _, retrieve_s = _timed(lambda: studio.post("/api/dm/actions/", everything, **action))
    page = studio.get("/api/tasks/", project=project, page_size=1)
    assert page["total_predictions"] == rows == given, page["total_predictions"]
    baseline = f"Label Studio's import of {rows:,} predictions that are given"
    return [
        Figure(what=what, value=seconds, unit="s", baseline=baseline, baseline_value=own_s)
        for what, seconds in (
            (f"predictions retrieved for {rows:,} tasks in one request", retrieve_s),
            ("Winnow's part of it: POST /predict with these tasks", predict_s),
        )
    ]


def _own_predictions(
    studio: StudioServer, records: list[dict[str, Any]], version: str
) -> tuple[int, float]:
    project = studio.new_project("Own predictions", CONFIG)
    path = f"/api/projects/{project}/import"
    ids = studio.post(path, records, return_task_ids="true")["task_ids"]
    choice = {"from_name": "verdict", "to_name": "answer", "type": "choices"}
    result = [{"id": "r1", "value": {"choices": ["keep"]}} | choice]
    predictions = [
        {"task": task, "result": result, "score": 0.5, "model_version": version} for task in ids
    ]
    made, seconds = _timed(lambda: studio.post(f"{path}/predictions", predictions))
    return int(made["created"]), seconds


def _timed_when_ready(
    service: Installation, url: str, body: dict[str, Any]
) -> tuple[list[Any], float]:
    """The results, and the time of a request after those that were told to come again."""
    deadline = time.monotonic() + READY_S
    while True:
        answer, seconds = _timed(lambda: service.http.post(url, json=body))
        if answer.is_success:
            return answer.json()["results"], seconds
        assert answer.status_code == 503, answer.text
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.5)


def _command(arguments: list[str]) -> str:
    told = StringIO()
    with redirect_stderr(told):
        code = cli.main(arguments)
    assert code == 0, told.getvalue()
    return told.getvalue()


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000)
    parser.add_argument("--retrieved", type=int, default=1_000)
    options = parser.parse_args()
    print(table(measure(options.rows, options.retrieved)))
