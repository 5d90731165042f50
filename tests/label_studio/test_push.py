"""`winnow label-studio push`: every row once, in the order asked for, whatever is there already."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import cli
from benchmarks.label_studio_server import StudioServer
from tests.e2e.processes import TINY
from tests.label_studio.breaking_proxy import breaking_proxy
from tests.label_studio.conftest import EMPTY_ROW, NUM_ROWS, Command, record
from winnow.client import Client, Run
from winnow.client.label_studio import LabelStudio

MAPPED_CONFIG = """\
<View>
  <Text name="q" value="$question"/> <Text name="r" value="$reply"/>
  <Choices name="verdict" toName="r"> <Choice value="keep"/> <Choice value="check"/> </Choices>
</View>
"""
OTHER_CONFIG = """\
<View>
  <Image name="i" value="$image"/>
  <Choices name="c" toName="i"> <Choice value="keep"/> </Choices>
</View>
"""
TOO_MANY = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def tasks_of(studio: StudioServer, project: int, **asked: Any) -> list[dict[str, Any]]:
    query = {"page_size": 500, "fields": "all"} | asked
    tasks: list[dict[str, Any]] = studio.get("/api/tasks/", project=project, **query)["tasks"]
    return tasks


def scores_of(tasks: list[dict[str, Any]]) -> list[float | None]:
    return [task["predictions"][0]["score"] for task in tasks]


def test_the_hardest_rows_come_first_and_a_second_push_adds_nothing(
    studio: StudioServer, project: int, run: Run, command: Command
) -> None:
    said = command("push", run.id, order="hardest")
    assert (said.code, said.last.partition(": ")[2]) == (
        0,
        f"{NUM_ROWS} tasks made, 0 predictions added to tasks that were there, 0 there already",
    )
    tasks = tasks_of(studio, project)
    assert sorted(task["data"]["winnow_row"] for task in tasks) == list(range(NUM_ROWS))
    scores = scores_of(tasks)
    assert scores[-1] is None
    assert tasks[-1]["data"]["winnow_row"] == EMPTY_ROW
    ranked = [score for score in scores if score is not None]
    assert len(ranked) == NUM_ROWS - 1
    assert ranked == sorted(ranked, reverse=True)
    assert {task["predictions"][0]["model_version"] for task in tasks} == {run.id}

    again = command("push", run.id, order="hardest")
    assert (
        f"0 tasks made, 0 predictions added to tasks that were there, {NUM_ROWS} there" in again.err
    )
    assert [len(task["predictions"]) for task in tasks_of(studio, project)] == [1] * NUM_ROWS


def test_the_data_manager_sorts_by_the_score_of_the_predictions(
    studio: StudioServer, project: int, run: Run, command: Command
) -> None:
    assert command("push", run.id).code == 0
    query = json.dumps({"ordering": ["-tasks:predictions_score"]})
    scores = scores_of(tasks_of(studio, project, query=query))
    assert scores[:-1] == sorted((each for each in scores if each is not None), reverse=True)


def test_choices_are_filled_in_by_the_labels_of_the_project(
    studio: StudioServer, project: int, run: Run, command: Command
) -> None:
    assert command("push", run.id).code == 0
    tasks = tasks_of(studio, project)
    for task in tasks:
        chosen = [
            each["value"] for each in task["predictions"][0]["result"] if each["type"] == "choices"
        ]
        assert chosen == [{"choices": [task["data"]["winnow_choice"].title()]}]
    assert tasks[EMPTY_ROW]["data"]["winnow_choice"] == "check"


def test_a_part_can_be_pushed_and_the_rest_follows(
    studio: StudioServer, project: int, run: Run, service: Client, command: Command
) -> None:
    num_part = service.manifest(run=run.id, ratio=0.05)["rows_selected"]
    assert f"{num_part} tasks made" in command("push", run.id, ratio=0.05).err
    assert f"{NUM_ROWS - num_part} tasks made" in command("push", run.id).err
    assert len(tasks_of(studio, project)) == NUM_ROWS


def test_another_run_adds_predictions_to_the_same_tasks(
    studio: StudioServer, project: int, run: Run, service: Client, command: Command
) -> None:
    assert command("push", run.id).code == 0
    other = service.wait(service.score(dataset=run.dataset, template="alpaca"))
    assert f"0 tasks made, {NUM_ROWS} predictions added" in command("push", other.id).err
    assert f"{NUM_ROWS} there already" in command("push", other.id).err
    versions = [
        sorted(each["model_version"] for each in task["predictions"])
        for task in tasks_of(studio, project)
    ]
    assert versions == [sorted([run.id, other.id])] * NUM_ROWS


def test_tasks_that_were_imported_by_hand_are_recognised(
    studio: StudioServer, project: int, run: Run, command: Command
) -> None:
    studio.post(f"/api/projects/{project}/import", [record(number) for number in range(10)])
    said = command("push", run.id)
    assert f"{NUM_ROWS - 10} tasks made, 10 predictions added" in said.err
    assert len(tasks_of(studio, project)) == NUM_ROWS


def test_the_task_file_of_a_subset_imports_and_is_recognised(
    studio: StudioServer, project: int, run: Run, service: Client, command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "tasks.json"
    options: Any = {"run": run.id, "ratio": 0.5, "format": "label_studio"}
    file.write_bytes(b"".join(service.subset(**options)))
    num_rows = service.manifest(run=run.id, ratio=0.5)["rows_selected"]
    with file.open("rb") as body:
        answer = studio.http.post(f"/api/projects/{project}/import", files={"file": body})
    assert answer.status_code == 201, answer.text
    counts = answer.json()
    assert counts["task_count"] == counts["prediction_count"] == num_rows > 0
    said = command("push", run.id, ratio=0.5)
    assert (
        f"0 tasks made, 0 predictions added to tasks that were there, {num_rows} there" in said.err
    )


def test_scores_of_a_file_are_pushed_without_a_service(
    studio: StudioServer, project: int, dataset: Path, command: Command, tmp_path: Path
) -> None:
    scores = tmp_path / "scores.jsonl"
    assert cli.main(["score", str(dataset), "--model", str(TINY), "--scores", str(scores)]) == 0
    said = command("push", scores, data=dataset, order="hardest", winnow_url="http://127.0.0.1:9")
    assert f"{NUM_ROWS} tasks made" in said.err
    assert f"{NUM_ROWS} there already" in command("push", scores, data=dataset).err
    ranked = [score for score in scores_of(tasks_of(studio, project)) if score is not None]
    assert ranked == sorted(ranked, reverse=True)


def test_fields_that_the_project_shows_are_filled_in_under_its_names(
    studio: StudioServer, run: Run, command: Command
) -> None:
    project = studio.new_project("Mapped", MAPPED_CONFIG)
    said = command("push", run.id, project=project)
    assert "wants $question, $reply, and no record has $reply. Say which" in said.last
    said = command("push", run.id, project=project, answer="reply")
    assert f"{NUM_ROWS} tasks made" in said.err
    data = tasks_of(studio, project)[3]["data"]
    assert data["question"] == data["instruction"] == record(3)["instruction"]
    assert data["reply"] == data["output"]


def test_a_personal_access_token_is_as_good(
    studio: StudioServer, project: int, run: Run, command: Command
) -> None:
    token = studio.post("/api/token/", {})["token"]
    assert token.count(".") == 2
    assert f"{NUM_ROWS} tasks made" in command("push", run.id, token=token).err
    with LabelStudio(studio.url, token) as connection:
        assert connection.project(project).id == project
        connection._access = "run.out.long-ago"
        assert connection.project(project).id == project


@pytest.mark.parametrize(
    ("request_line", "refusal"),
    [
        ("POST /api/projects/{project}/import?", b""),
        ("POST /api/projects/{project}/import?", TOO_MANY),
        ("GET /api/tasks/?", b""),
    ],
)
def test_an_import_whose_answer_is_lost_is_done_once(
    request_line: str,
    refusal: bytes,
    studio: StudioServer,
    project: int,
    run: Run,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("winnow.client.label_studio_push.MAX_ITEMS", 25)
    loses = request_line.format(project=project)
    with breaking_proxy(studio.url, loses_answer_to=loses, refusal=refusal) as proxy:
        said = command("push", run.id, url=proxy.url)
    assert proxy.num_lost == 1
    assert f"{NUM_ROWS} tasks made" in said.err
    tasks = tasks_of(studio, project)
    assert sorted(task["data"]["winnow_row"] for task in tasks) == list(range(NUM_ROWS))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"token": "0" * 40}, "refuses the token (Invalid token"),
        ({"token": "a.b.c"}, "refuses the token ("),
        ({"token": "två"}, "one line of printable ASCII"),
        ({"project": 999_999}, "shows the owner of this token no project 999999, but "),
        ({"url": "http://127.0.0.1:9"}, "No Label Studio answers at http://127.0.0.1:9"),
        ({"url": "ftp://studio"}, "--url must be like http://host:8080"),
    ],
)
def test_what_is_wrong_is_one_line(
    options: dict[str, Any], told: str, run: Run, studio: StudioServer, command: Command
) -> None:
    said = command("push", run.id, **options)
    assert said.code == 2
    assert told in said.last
    assert said.last.startswith("error: ")
    assert studio.token not in said.err


def test_a_project_that_shows_other_fields_says_which(
    studio: StudioServer, run: Run, command: Command
) -> None:
    project = studio.new_project("Images", OTHER_CONFIG)
    said = command("push", run.id, project=project)
    assert said.code == 2
    assert "wants $image, and no record has $image" in said.last
    assert "$instruction" in said.last
    assert tasks_of(studio, project) == []


def test_another_server_is_recognised_as_such(run: Run, service: Client, command: Command) -> None:
    said = command("push", run.id, url=service.url)
    assert said.code != 0
    assert len(said.err.strip().splitlines()) == 1
