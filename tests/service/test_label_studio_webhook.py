"""What annotators change comes back by webhook, and is scored anew."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.service.conftest import RECORDS
from tests.service.label_studio import FIELDS, annotation, basic, event, task, tasks_of
from winnow.store.blobs import Blobs

TASKS = tasks_of(RECORDS)
CHANGED = annotation(7, TASKS[0]["id"], "A better answer")


@pytest.fixture
def hook(finished_run: dict[str, Any]) -> str:
    """Where Label Studio tells of annotations on the tasks of a run."""
    return f"/label-studio/{finished_run['id']}/webhook?{FIELDS}"


def tell(client: TestClient, hook: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = client.post(hook, json=body)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    counted = sum(told[name] for name in ("queued", "known", "unchanged", "ignored"))
    assert counted == len(told["events"])
    return told


def test_a_changed_answer_is_scored_with_the_options_of_the_run(
    client: TestClient,
    hook: str,
    finished_run: dict[str, Any],
    work: Callable[[], None],
    blobs: Blobs,
) -> None:
    told = tell(client, hook, event("ANNOTATION_UPDATED", CHANGED, TASKS[0]))
    (one,) = told["events"]
    assert (told["queued"], one["annotation"], one["task"]) == (1, 7, 100)
    work()
    run = client.get(f"/runs/{one['run']}").json()
    assert (run["status"], run["options"]) == ("completed", finished_run["options"])
    assert run["revision"] == finished_run["revision"]
    (row,) = client.get(f"/runs/{run['id']}/scores").json()["data"]
    assert row["score"] is not None
    with blobs.open_read(f"datasets/{run['dataset']}/upload") as upload:
        assert json.loads(upload.read()) == {
            "instruction": "Question 0",
            "output": "A better answer",
            "label_studio": {
                "project": 1,
                "task": 100,
                "annotation": 7,
                "target": finished_run["id"],
            },
        }
    assert client.get("/subsets?ratio=0.5").headers["Winnow-Run"] == finished_run["id"]


def test_an_event_is_acknowledged_within_a_second(client: TestClient, hook: str) -> None:
    def acknowledge(number: int) -> float:
        started = time.monotonic()
        changed = annotation(number, 100, f"Better answer {number}")
        told = tell(client, hook, event("ANNOTATION_CREATED", changed, TASKS[0]))
        assert told["queued"] == 1
        return time.monotonic() - started

    # The best of a few: what is measured is not how busy this machine is.
    assert min(acknowledge(number) for number in range(3)) < 1


def test_telling_it_again_changes_nothing(client: TestClient, hook: str) -> None:
    told = event("ANNOTATION_CREATED", CHANGED, TASKS[0])
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: tell(client, hook, told), range(4)))
    assert sum(answer["queued"] for answer in answers) == 1
    assert sum(answer["known"] for answer in answers) == 3
    later = CHANGED | {"updated_at": "2026-11-22T10:00:00Z"}
    # What reconcile sends of many annotations at a time.
    bulk = event(
        "ANNOTATIONS_CREATED",
        [later, annotation(8, 101, "Another better answer")],
        [TASKS[1], TASKS[0]],
    )
    again = tell(client, hook, bulk)
    assert (again["known"], again["queued"]) == (1, 1)
    assert again["events"][0]["run"] == answers[0]["events"][0]["run"]
    assert [one["task"] for one in again["events"]] == [100, 101]


def test_an_event_of_many_annotations_is_one_run(
    client: TestClient, hook: str, work: Callable[[], None], blobs: Blobs
) -> None:
    def bulk(numbers: range) -> dict[str, Any]:
        changed = [annotation(number, 100, f"Better answer {number}") for number in numbers]
        return event("ANNOTATIONS_CREATED", changed, [TASKS[0]] * len(changed))

    first = tell(client, hook, bulk(range(300)))
    assert (first["queued"], len({one["run"] for one in first["events"]})) == (300, 1)
    assert [one["row"] for one in first["events"]] == list(range(300))
    work()
    run = client.get(f"/runs/{first['events'][0]['run']}").json()
    assert (run["status"], run["counts"]["rows"]) == ("completed", 300)
    with blobs.open_read(f"datasets/{run['dataset']}/upload") as upload:
        lines = [json.loads(line) for line in upload]
    assert [line["label_studio"]["annotation"] for line in lines] == list(range(300))

    # Told again, in other company: only the new ones are scored.
    assert tell(client, hook, bulk(range(300)))["known"] == 300
    later = tell(client, hook, bulk(range(250, 310)))
    assert (later["known"], later["queued"]) == (50, 10)
    assert later["events"][:50] == [one | {"outcome": "known"} for one in first["events"][250:]]
    assert len(client.get("/runs").json()["data"]) == 3


def test_what_changes_no_answer_starts_nothing(client: TestClient, hook: str) -> None:
    same = annotation(1, 100, RECORDS[0]["output"])
    chosen = annotation(2, 100, None)
    skipped = annotation(3, 100, "Never mind", was_cancelled=True)
    empty = annotation(4, 100, "")
    bulk = event("ANNOTATIONS_CREATED", [same, chosen, skipped, empty], [TASKS[0]] * 4)
    told = tell(client, hook, bulk)
    assert (told["unchanged"], told["ignored"], told["queued"]) == (2, 2, 0)
    reasons = [one["reason"] for one in told["events"]]
    assert reasons[:2] == [None, None]
    assert reasons[2] == "The annotator skipped it."
    assert "empty" in reasons[3]
    assert len(client.get("/runs").json()["data"]) == 1


def test_other_events_are_taken_and_training_is_answered_as_label_studio_expects(
    client: TestClient, hook: str
) -> None:
    for action in ("TASKS_CREATED", "PROJECT_UPDATED", "ANNOTATIONS_DELETED", "SOMETHING_NEW"):
        assert tell(client, hook, {"action": action, "annotations": [{"id": 7}]})["events"] == []
    answer = client.post(hook, json={"action": "START_TRAINING", "project": {"id": 1}})
    assert (answer.status_code, answer.json()["status"]) == (201, "ok")


def test_a_model_scores_what_was_changed_too(client: TestClient, work: Callable[[], None]) -> None:
    hook = f"/label-studio/winnow-mini/{FIELDS}/webhook"
    told = tell(client, hook, event("ANNOTATION_CREATED", CHANGED, TASKS[0]))
    work()
    run = client.get(f"/runs/{told['events'][0]['run']}").json()
    assert (run["status"], run["model"], run["method"]) == ("completed", "winnow-mini", "ifd")


def test_a_method_that_takes_a_whole_dataset_scores_no_single_answer(client: TestClient) -> None:
    run = client.post("/score?method=s2l", json=RECORDS).json()
    hook = f"/label-studio/{run['id']}/webhook?{FIELDS}"
    told = tell(client, hook, event("ANNOTATION_CREATED", CHANGED, TASKS[0]))
    assert told["ignored"] == 1
    assert "winnow label-studio pull" in told["events"][0]["reason"]


def test_whoever_has_no_key_or_another_owners_tells_nothing(
    client: TestClient, hook: str, bob: dict[str, str]
) -> None:
    body = event("ANNOTATION_CREATED", CHANGED, TASKS[0])
    assert client.post(hook, json=body, headers={"Authorization": ""}).status_code == 401
    key = bob["Authorization"].removeprefix("Bearer ")
    for headers in (bob, basic(key)):
        assert client.post(hook, json=body, headers=headers).status_code == 404


REGION = CHANGED["result"][1]
HOSTILE: list[dict[str, Any]] = [
    event("ANNOTATION_CREATED", CHANGED, task(101, TASKS[0]["data"])),
    *(
        event("ANNOTATION_CREATED", CHANGED | {"result": [REGION | odd]}, TASKS[0])
        for odd in (
            {"value": {"text": 7}},
            {"value": {"text": {"a": 1}}},
            {"value": None},
            {"from_name": []},
            {"from_name": "verdict", "value": {"choices": 7}},
            {"from_name": "verdict", "value": {"choices": [{"a": 1}]}},
        )
    ),
    {"action": "ANNOTATION_CREATED"},
    event("ANNOTATION_CREATED", None, None),
    event("ANNOTATION_CREATED", "text", 7),
    event("ANNOTATION_CREATED", {"id": "7", "result": "text"}, TASKS[0]),
    event("ANNOTATION_CREATED", {"result": [None, 1, {"value": 7}]}, TASKS[0]),
    event("ANNOTATION_CREATED", annotation(1, 100, "x"), {"id": 100, "data": [1]}),
    event("ANNOTATIONS_CREATED", [CHANGED, None, 3], [None]),
    event("ANNOTATION_CREATED", annotation(1, 100, None, id=True), TASKS[0]),
    {"action": "ANNOTATION_CREATED", "annotation": CHANGED, "task": TASKS[0], "project": 3},
    event("ANNOTATION_CREATED", CHANGED, task(100, {"question": 1, "reply": {"a": []}})),
]


def test_an_event_of_another_shape_is_acknowledged_and_starts_nothing(
    client: TestClient, hook: str
) -> None:
    for body in HOSTILE:
        told = tell(client, hook, body)
        assert (told["queued"], told["known"]) == (0, 0), body
    for content in (b"", b"[]", b'{"action": 7}', b"{" * 5_000):
        assert client.post(hook, content=content).status_code == 422
    many = event("ANNOTATIONS_CREATED", [{}] * 10_001, [])
    assert client.post(hook, json=many).status_code == 413
    bomb = event("ANNOTATION_CREATED", CHANGED, TASKS[0])
    bomb["project"]["label_config"] = '<!DOCTYPE v [<!ENTITY f "x">]><View>&f;</View>'
    assert client.post(hook, json=bomb).status_code == 422


def test_an_answer_of_odd_characters_is_scored(
    client: TestClient, hook: str, work: Callable[[], None]
) -> None:
    odd = annotation(9, 100, "\ud800 \x00 <script>alert(1)</script> \u202e")
    answer = client.post(hook, content=json.dumps(event("ANNOTATION_CREATED", odd, TASKS[0])))
    assert answer.status_code == 200, answer.text
    work()
    run = client.get(f"/runs/{answer.json()['events'][0]['run']}").json()
    assert run["status"] == "completed"
