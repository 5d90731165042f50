"""Records become tasks and tasks become records, under one key."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import orjson
import pytest

from tests.records import hostile
from tests.records.samples import as_jsonl, read, store
from winnow.labelling.argilla import item, render_bulks
from winnow.labelling.label_studio import render_tasks, task
from winnow.labelling.prediction import Prediction
from winnow.labelling.record_key import record_key
from winnow.labelling.task_fields import TaskFields
from winnow.labelling.texts import prompt_and_answer
from winnow.records.blocks import Rows
from winnow.records.example import Example, Turn
from winnow.records.json_text import parse_as_written, parse_json
from winnow.records.schemas import to_example

SAID = Prediction(score=0.4, choice="keep", fields={"score": 0.8})
TURNS = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hello?"},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "More."},
    {"role": "assistant", "content": "Gladly."},
]
RECORDS: list[dict[str, Any]] = [
    {"instruction": "Add.", "input": "1, 2", "output": "3", "source": "math"},
    {"prompt": "Say hi", "completion": "hi", "extra": {"kept": [1]}},
    {"prompt": "Say hi", "response": "hi", "system": "Be brief."},
    {"messages": TURNS},
    {"conversations": [{"from": "human", "value": "Ping"}, {"from": "gpt", "value": "Pong"}]},
]


def made(record: dict[str, Any]) -> dict[str, Any]:
    data: dict[str, Any] = task(record, SAID, row=7, run="run_1", model_version="run_1")["data"]
    return data


@pytest.mark.parametrize("record", RECORDS)
def test_the_record_of_a_task_has_the_key_of_the_record(record: dict[str, Any]) -> None:
    data = made(record)
    assert TaskFields().record(data) == record
    key = record_key(record)
    assert key is not None
    assert len(key) == 32
    assert data["winnow_key"] == key == record_key(TaskFields().record(data))


@pytest.mark.parametrize("name", hostile.LINES)
def test_hostile_records_keep_their_key_through_a_task(name: str) -> None:
    line = hostile.LINES[name]
    example = to_example(parse_json(line), row=0, where="")
    assert isinstance(example, Example)
    data = made(parse_as_written(line))
    assert data["winnow_key"] == record_key(example) == record_key(TaskFields().record(data))


def test_only_texts_make_the_key() -> None:
    key = record_key({"instruction": "a", "output": "b"})
    assert key == record_key({"prompt": "a", "completion": "b", "id": 5, "input": "ignored"})
    others = [
        {"instruction": "a", "output": "c"},
        {"instruction": "a", "input": "b", "output": "b"},
        {"instruction": "a", "output": "b", "system": "s"},
    ]
    assert len({key, *map(record_key, others)}) == 4
    assert record_key({"instruction": "a", "output": ""}) is None


def test_a_task_says_where_it_comes_from() -> None:
    data = made(RECORDS[0] | {"winnow_run": "mine"})
    assert (data["winnow_row"], data["winnow_run"], data["winnow_choice"]) == (7, "run_1", "keep")
    assert data["winnow_score"] == 0.8
    assert (data["winnow_prompt"], data["winnow_answer"]) == ("Add.\n\n1, 2", "3")
    without = task(RECORDS[0], SAID, row=7, run=None, model_version="scores")["data"]
    assert "winnow_run" not in without


def test_a_conversation_is_shown_with_its_roles() -> None:
    turns = [Turn(role=each["role"], content=each["content"]) for each in TURNS]  # type: ignore[arg-type]
    assert prompt_and_answer(turns) == (
        "system: Be kind.\n\nuser: Hello?\n\nassistant: Hello!\n\nuser: More.",
        "Gladly.",
    )
    assert prompt_and_answer([]) == ("", "")


def test_named_fields_come_before_all_others() -> None:
    data = {"q": "a", "context": "c", "a": "b", "instruction": "x", "output": "y", "note": 1}
    fields = TaskFields.find(["instruction", "output"], prompt="q", answer="a")
    assert fields.record(data) == {
        "instruction": "a", "input": None, "output": "b", "context": "c", "note": 1,
    }  # fmt: skip
    shown = TaskFields.find(["question", "context", "answer"])
    assert shown.record({"question": "a", "context": "c", "answer": "b", "output": "old"}) == {
        "instruction": "a", "input": "c", "output": "b",
    }  # fmt: skip


def test_shown_fields_that_the_data_lacks_leave_it_to_the_data() -> None:
    shown = TaskFields.find(["question", "answer"])
    assert shown.record(RECORDS[1]) == RECORDS[1]
    assert TaskFields.find([]).record({"query": "a", "answer": "b"})["output"] == "b"
    assert TaskFields.find([]).record({"text": "a"}) == {}
    assert TaskFields.find(["messages"]).record({"messages": TURNS, "conversations": 1}) == {
        "messages": TURNS
    }


def test_an_agent_has_only_characters_that_argilla_takes() -> None:
    found = item(
        RECORDS[0],
        SAID,
        row=0,
        dataset="ds",
        agent="org/model@" + "x" * 300,
        question_id=UUID(int=1),
    )
    agent = found["suggestions"][0]["agent"]
    assert agent.startswith("org/model-xxx")
    assert len(agent) == 200
    assert "suggestions" not in item(RECORDS[0], SAID, row=0, dataset="ds", agent="a")


@pytest.mark.parametrize(
    ("count", "answer", "sizes"),
    [(0, "x", []), (500, "x", [500]), (1001, "x", [500, 500, 1]), (19, "x" * (1 << 20), [15, 4])],
)
def test_a_bulk_has_as_many_records_as_a_request_may_have(
    tmp_path: Path, count: int, answer: str, sizes: list[int]
) -> None:
    records = ({"instruction": str(n), "output": answer} for n in range(count))
    reader = store(tmp_path, read(as_jsonl(records)) if count else [])
    bulks = b"".join(
        render_bulks(
            reader,
            np.arange(count),
            predictions=lambda rows: [SAID] * len(rows),
            dataset="ds",
            agent="a",
        )
    ).splitlines()
    found = [orjson.loads(bulk)["items"] for bulk in bulks]
    assert [len(items) for items in found] == sizes
    assert [each["external_id"] for items in found for each in items] == [
        f"ds-{row}" for row in range(count)
    ]


def test_tasks_are_made_as_they_are_taken(tmp_path: Path) -> None:
    records = ({"instruction": str(n), "output": "x" * 100} for n in range(3000))
    asked = []

    def said(rows: Rows) -> list[Prediction]:
        asked.append(len(rows))
        return [SAID] * len(rows)

    rows = np.arange(3000)[::-1]
    reader = store(tmp_path, read(as_jsonl(records)))
    pieces = render_tasks(reader, rows, predictions=said, run="run_1", model_version="run_1")
    first = next(pieces)
    assert (len(first) < 1 << 17, asked) == (True, [1024])
    tasks = orjson.loads(first + b"".join(pieces))
    assert [task["data"]["winnow_row"] for task in tasks] == rows.tolist()
