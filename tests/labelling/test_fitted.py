"""Tasks of a task file, read again, put in order and made to fit a project."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from winnow.errors import DamagedContainer, InputError, InvalidOption
from winnow.labelling.fitted import check_shown, fit, key_of
from winnow.labelling.label_config import LabelConfig
from winnow.labelling.label_studio import task
from winnow.labelling.prediction import Prediction
from winnow.labelling.record_key import record_key
from winnow.labelling.task_fields import TaskFields
from winnow.labelling.task_file import hardest_first, read_tasks
from winnow.records.json_text import dump_as_written, parse_as_written

CONFIG = LabelConfig.parse(
    '<View><Text name="q" value="$question"/><Text name="a" value="$response"/>'
    '<Choices name="c" toName="a"><Choice value="KEEP"/><Choice value="DROP"/></Choices></View>'
)
FIELDS = TaskFields.find(CONFIG.fields)
RECORD = b'{"instruction": "Add.", "input": "1, 2", "output": "3", "big": 12345678901234567890123}'


def element(record: bytes = RECORD, *, score: float | None = 0.25) -> bytes:
    said = Prediction(score=score, choice="keep", fields={"score": 1 / 3, "flags": ["truncated"]})
    made = task(parse_as_written(record), said, row=3, run="run_x", model_version="run_x")
    return dump_as_written(made)


def test_a_task_gets_the_fields_and_labels_of_the_project_and_keeps_its_own() -> None:
    fitted = fit(element(), CONFIG, FIELDS)
    body = json.loads(fitted.body)
    assert body["data"]["question"] == "Add.\n\n1, 2"
    assert body["data"]["response"] == "3"
    assert b"12345678901234567890123" in fitted.body
    (prediction,) = body["predictions"]
    assert prediction["score"] == 0.25
    assert [region["value"] for region in prediction["result"]] == [{"choices": ["KEEP"]}]
    assert json.loads(fitted.prediction_for(7)) == {"task": 7, **prediction}


def test_a_task_is_recognised_by_its_texts_whoever_made_it() -> None:
    key = fit(element(), CONFIG, FIELDS).key
    assert key == record_key(json.loads(RECORD))
    assert key_of({"question": "Add.", "input": "1, 2", "response": "3"}, FIELDS) != key
    assert key_of({"instruction": "Add.", "input": "1, 2", "output": "3"}, TaskFields()) == key
    assert key_of({"image": "cat.png"}, FIELDS) is None


def test_a_row_that_is_no_example_is_recognised_by_all_its_fields() -> None:
    one, same, other = (
        fit(element(record, score=None), CONFIG, FIELDS)
        for record in (b'{"instruction": "a"}', b'{"instruction":  "a"}', b'{"instruction": "b"}')
    )
    assert one.key == same.key != other.key
    assert key_of(json.loads(one.body)["data"], FIELDS) == one.key


def test_what_no_task_has_is_refused_and_what_one_has_is_not() -> None:
    config = LabelConfig.parse('<View><Text name="t" value="$text"/></View>')
    fields = TaskFields.find(config.fields)
    without = fit(element(), config, fields)
    with_text = fit(element(b'{"instruction": "i", "output": "o", "text": "t"}'), config, fields)
    check_shown([without, with_text], config, project="project 1")
    check_shown([], config, project="project 1")
    with pytest.raises(InputError, match=r"wants \$text, and no record has \$text.*\$instruction"):
        check_shown([without], config, project="project 1")


def pieces(data: bytes, size: int = 7) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def test_a_task_file_is_read_in_pieces_and_its_end_is_checked() -> None:
    tasks = [element(score=score) for score in (0.5, 0.25)]
    file = b"[\n" + b",\n".join(tasks) + b"\n]\n"
    assert list(read_tasks(pieces(file))) == tasks
    with pytest.raises(DamagedContainer):
        list(read_tasks(pieces(file[:-5])))


def test_the_hardest_come_first_then_the_unranked_each_in_their_order() -> None:
    scores: list[Any] = [0.5, None, 0.75, 0.5, None, 0.25]
    tasks = [
        dump_as_written({"at": at, "predictions": [{"score": score}]})
        for at, score in enumerate(scores)
    ]
    assert [json.loads(each)["at"] for each in hardest_first(tasks)] == [2, 0, 3, 5, 1, 4]
    assert list(hardest_first([])) == []
    with pytest.raises(InvalidOption, match="order hardest"):
        list(hardest_first(tasks[1:2]))
