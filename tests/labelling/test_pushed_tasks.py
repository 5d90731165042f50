"""A task that was pushed is its row, and unchanged, whatever the project shows of it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from service.label_studio.matching import AskedTask
from winnow.labelling.annotation import annotated
from winnow.labelling.fitted import fit, key_of
from winnow.labelling.label_config import LabelConfig
from winnow.labelling.label_studio import task
from winnow.labelling.prediction import Prediction
from winnow.labelling.record_key import record_key
from winnow.labelling.task_fields import TaskFields
from winnow.records.json_text import dump_as_written

SAID = Prediction(score=0.4, choice="keep", fields={"score": 0.8})
TURNS = [("user", "u"), ("assistant", "a"), ("user", "more"), ("assistant", "b")]
RECORDS: dict[str, dict[str, Any]] = {
    "alpaca": {"instruction": "Say", "output": "hi"},
    "alpaca with input": {"instruction": "Say", "input": "it", "output": "hi"},
    "prompt": {"prompt": "p", "response": "c", "id": 7},
    "prompt with system": {"system": "S", "prompt": "p", "completion": "c"},
    "messages": {"messages": [{"role": role, "content": text} for role, text in TURNS]},
    "messages of one turn": {"messages": [{"role": "assistant", "content": "a"}]},
    "sharegpt": {
        "system": "S",
        "conversations": [{"from": role, "value": text} for role, text in TURNS],
    },
    "messages as text": {"messages": '[{"role":"assistant","content":"a"}]', "source": "s"},
    "second answer": {"instruction": "Say", "input": "it", "output": "hi", "response": "other"},
    "second prompt": {"prompt": "p", "completion": "c", "question": "another"},
    "odd characters": {"instruction": "a\x00", "input": "b", "output": "\ud800"},
}
SHOWN = [
    ("winnow_prompt", "winnow_answer"),
    ("question", "response"),
    ("instruction", "output"),
    ("prompt", "completion"),
    ("messages", "answer"),
]


def config(prompt: str, answer: str) -> LabelConfig:
    return LabelConfig.parse(
        f'<View><Text name="q" value="${prompt}"/><Text name="i" value="$input"/>'
        f'<Text name="a" value="${answer}"/><TextArea name="edited_answer" toName="a"/>'
        '<TextArea name="edited_prompt" toName="q"/></View>'
    )


def pushed(record: dict[str, Any], shown: LabelConfig, fields: TaskFields) -> dict[str, Any]:
    made = dump_as_written(task(record, SAID, row=0, run="run_x", model_version="run_x"))
    data: dict[str, Any] = orjson.loads(fit(made, shown, fields).body)["data"]
    return data


def entered(control: str, text: str) -> list[dict[str, Any]]:
    return [{"from_name": control, "type": "textarea", "value": {"text": [text]}}]


@pytest.mark.parametrize("names", SHOWN, ids="/".join)
@pytest.mark.parametrize("kind", RECORDS)
def test_a_pushed_task_is_its_row_and_unchanged_until_it_is_edited(
    kind: str, names: tuple[str, str]
) -> None:
    record, shown = RECORDS[kind], config(*names)
    fields = TaskFields.find(shown.fields)
    data = pushed(record, shown, fields)
    key = record_key(record)
    assert key is not None
    asked = AskedTask.read({"data": data}, fields, run_id="run_x")
    assert (asked.key, asked.row) == (bytes.fromhex(key), 0)
    assert key_of(data, fields) == key
    assert record_key(annotated(data, [], shown, fields=fields)) == key
    edited = annotated(data, entered("edited_answer", "new"), shown, fields=fields)
    assert record_key(edited) not in {None, key}


def test_a_task_whose_texts_were_changed_is_no_longer_its_row() -> None:
    for names in SHOWN:
        shown = config(*names)
        fields = TaskFields.find(shown.fields)
        data = pushed(RECORDS["alpaca with input"], shown, fields) | {"output": "another"}
        asked = AskedTask.read({"data": data}, fields, run_id="run_x")
        assert asked.key != bytes.fromhex(data["winnow_key"])


def test_a_prompt_that_is_shown_with_its_input_is_edited_with_it() -> None:
    shown = config("question", "response")
    fields = TaskFields.find(shown.fields)
    data = pushed(RECORDS["alpaca with input"], shown, fields)
    edited = annotated(data, entered("edited_prompt", "Speak"), shown, fields=fields)
    assert edited == {"instruction": "Speak", "input": "", "output": "hi"}
