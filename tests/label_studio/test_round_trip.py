"""Winnow as Label Studio's ML backend and the receiver of its webhooks, and what annotators made brought back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.label_studio_server import StudioServer
from tests.e2e.processes import TINY, until
from tests.label_studio.conftest import NUM_ROWS, Command, record
from winnow.client import Client, Run
from winnow.scores import read_scores

OTHER_NAMES = """\
<View>
  <Text name="q" value="$ask"/> <Text name="r" value="$reply"/>
  <Choices name="verdict" toName="r"> <Choice value="keep"/> <Choice value="drop"/> </Choices>
</View>
"""
EDITED = "Three is what everybody should say, and nothing else."


def annotate(studio: StudioServer, task: int, *, answer: str | None, verdict: str) -> int:
    """Annotate a task as its page does; the number of the annotation."""
    result: list[dict[str, Any]] = [
        {
            "from_name": "verdict",
            "to_name": "answer",
            "type": "choices",
            "value": {"choices": [verdict]},
        }
    ]
    if answer is not None:
        text = {"type": "textarea", "value": {"text": [answer]}}
        result.append({"from_name": "edited_answer", "to_name": "answer"} | text)
    made = studio.post(f"/api/tasks/{task}/annotations/", {"result": result, "lead_time": 1.0})
    return int(made["id"])


def task_ids(studio: StudioServer, project: int) -> list[int]:
    tasks = studio.get("/api/tasks/", project=project, page_size=500)["tasks"]
    return [task["id"] for task in tasks]


def connect_webhook(studio: StudioServer, project: int, service: Client, target: str) -> int:
    hook = {
        "project": project,
        "url": f"{service.url}/label-studio/{target}/webhook",
        "send_payload": True,
        "send_for_all_actions": True,
    }
    return int(studio.post("/api/webhooks/", hook)["id"])


def scored_annotation(service: Client, task: int, annotation: int) -> Run:
    """The run of a changed answer, once it is completed."""
    name = f"Label Studio: task {task}, annotation {annotation}"

    def find() -> Run | None:
        return next((each for each in service.runs() if each.name == name), None)

    return service.wait(until(find))


def predictions_retrieved(
    studio: StudioServer, project: int, service: Client, target: str
) -> list[dict[str, Any]]:
    """What the tasks of a project are predicted, once Label Studio got all of it from Winnow's backend."""
    backend = {"project": project, "title": "Winnow", "url": f"{service.url}/label-studio/{target}"}
    assert studio.post("/api/ml/", backend)["state"] == "CO"
    action = {"id": "retrieve_tasks_predictions", "project": project}
    everything = {"selectedItems": {"all": True, "excluded": []}}
    asked = {"project": project, "page_size": 500, "fields": "all"}

    def retrieved() -> list[dict[str, Any]] | None:
        # Until it has all of them the backend answers 503, of which Label Studio stores nothing.
        studio.http.post("/api/dm/actions/", params=action, json=everything)
        tasks = studio.get("/api/tasks/", **asked)["tasks"]
        return tasks if all(task["predictions"] for task in tasks) else None

    tasks = until(retrieved)
    assert {len(task["predictions"]) for task in tasks} == {1}
    return [task["predictions"][0] for task in tasks]


@pytest.mark.parametrize("target", ["run", "model"])
def test_label_studio_retrieves_predictions_of_its_backend(
    studio: StudioServer, project: int, run: Run, service: Client, target: str
) -> None:
    studio.post(f"/api/projects/{project}/import", [record(number) for number in range(NUM_ROWS)])
    name = run.id if target == "run" else TINY.as_posix()
    predictions = predictions_retrieved(studio, project, service, name)
    raw = [each.get("score") for each in service.scores(run.id)]
    for score, predicted in zip(raw, predictions, strict=True):
        assert (score is None) == (predicted["score"] is None)
        assert score is None or predicted["score"] == pytest.approx(score / (1 + score), abs=1e-5)


def test_the_backends_address_says_which_fields_are_prompt_and_answer(
    studio: StudioServer, run: Run, service: Client
) -> None:
    project = studio.new_project("Other names", OTHER_NAMES)
    rows = [3, 5]
    tasks = [{"ask": each["instruction"], "reply": each["output"]} for each in map(record, rows)]
    studio.post(f"/api/projects/{project}/import", tasks)
    target = f"{run.id}/prompt=ask&answer=reply"
    predictions = predictions_retrieved(studio, project, service, target)
    raw = {each["row"]: each.get("score") for each in service.scores(run.id)}
    assert [each["score"] for each in predictions] == pytest.approx(
        [raw[row] / (1 + raw[row]) for row in rows], abs=1e-5
    )


def test_predictions_of_the_backend_and_pushed_ones_are_the_same(
    studio: StudioServer, project: int, run: Run, service: Client, command: Command
) -> None:
    assert command("push", run.id).code == 0
    backend = {
        "project": project,
        "title": "Winnow",
        "url": f"{service.url}/label-studio/{run.id}",
    }
    studio.post("/api/ml/", backend)
    action = {"id": "retrieve_tasks_predictions", "project": project}
    studio.post("/api/dm/actions/", {"selectedItems": {"all": True, "excluded": []}}, **action)
    asked = {"project": project, "page_size": 500, "fields": "all"}
    tasks = studio.get("/api/tasks/", **asked)["tasks"]
    assert [len(task["predictions"]) for task in tasks] == [1] * NUM_ROWS


def test_an_answer_that_is_edited_is_scored_anew_by_the_webhook_and_pulled(
    studio: StudioServer,
    project: int,
    run: Run,
    service: Client,
    command: Command,
    tmp_path: Path,
) -> None:
    assert command("push", run.id).code == 0
    connect_webhook(studio, project, service, run.id)
    ids = task_ids(studio, project)
    annotate(studio, ids[2], answer=None, verdict="Keep")
    annotation = annotate(studio, ids[3], answer=EDITED, verdict="Drop")
    rescored = scored_annotation(service, ids[3], annotation)
    (row,) = service.scores(rescored.id)
    assert row["status"] == "scored"
    assert (
        row["score"] != next(each for each in service.scores(run.id) if each["row"] == 3)["score"]
    )

    output = tmp_path / "annotated.jsonl"
    said = command("pull", output=output)
    assert said.last.endswith(f"2 annotated tasks in {output}, 1 of them edited")
    records = [json.loads(line) for line in output.read_text().splitlines()]
    assert records == [
        record(2) | {"verdict": "Keep"},
        record(3) | {"output": EDITED, "verdict": "Drop"},
    ]


def test_what_is_pulled_is_scored_by_a_service_or_on_this_machine(
    studio: StudioServer,
    project: int,
    run: Run,
    service: Client,
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert command("push", run.id).code == 0
    for task in task_ids(studio, project)[:3]:
        annotate(studio, task, answer=EDITED, verdict="Keep")
    output = tmp_path / "annotated.jsonl"
    monkeypatch.setenv("WINNOW_MODELS", str(TINY))
    assert command("pull", "--score", output=output).code == 0
    table = read_scores(tmp_path / "annotated.scores.jsonl")
    assert table.num_scored == 3
    said = command("pull", "--score", output=output, winnow_url=service.url)
    served = service.run(said.last.removeprefix("scored as "))
    assert [each["score"] for each in service.scores(served.id)] == pytest.approx(
        table.score.tolist(), abs=1e-5
    )


def test_reconcile_finds_what_a_lost_webhook_missed(
    studio: StudioServer, project: int, run: Run, service: Client, command: Command
) -> None:
    assert command("push", run.id).code == 0
    hook = connect_webhook(studio, project, service, run.id)
    first, second, third = task_ids(studio, project)[:3]
    heard = annotate(studio, first, answer=EDITED, verdict="Keep")
    scored_annotation(service, first, heard)
    studio.http.patch(f"/api/webhooks/{hook}/", json={"is_active": False}).raise_for_status()
    lost = annotate(studio, second, answer=EDITED, verdict="Keep")
    annotate(studio, third, answer=None, verdict="Check")

    said = command("reconcile", run.id)
    assert "3 annotations; 1 had been missed and are scored now, 1 known, 1 without" in said.last
    assert scored_annotation(service, second, lost).status == "completed"
    assert (
        "3 annotations; 0 had been missed and are scored now, 2 known"
        in command("reconcile", run.id).last
    )


def test_commands_say_in_one_line_what_is_wrong(
    studio: StudioServer, project: int, command: Command, tmp_path: Path
) -> None:
    studio.post(f"/api/projects/{project}/import", [record(1)])
    annotate(studio, task_ids(studio, project)[0], answer=EDITED, verdict="Keep")
    said = command("reconcile", "run_none")
    assert said.code == 2
    assert said.last.startswith("error: ")
    assert command("pull", "--score", output="-").last.endswith("name a file.")
    assert command("pull", output=tmp_path / "annotated.csv").code == 2
