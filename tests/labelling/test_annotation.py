"""What annotators made of a task, as a record again."""

from __future__ import annotations

from typing import Any

import pytest

from winnow.labelling.annotation import annotated, newest
from winnow.labelling.label_config import LabelConfig
from winnow.labelling.record_key import record_key
from winnow.labelling.task_fields import TaskFields

OWN = {"winnow_prompt": "Add 1 and 2.", "winnow_answer": "3", "winnow_key": "k", "winnow_row": 4}


def config(*controls: str, shows: str = "output") -> LabelConfig:
    return LabelConfig.parse(
        f'<View><Text name="prompt" value="$winnow_prompt"/><Text name="shown" value="${shows}"/>'
        f"{''.join(controls)}</View>"
    )


def text_area(name: str, to: str = "shown") -> str:
    return f'<TextArea name="{name}" toName="{to}"/>'


def text(name: str, *lines: str) -> dict[str, Any]:
    return {"from_name": name, "type": "textarea", "value": {"text": list(lines)}}


def edited(data: dict[str, Any], name: str, *, to: str = "shown", shows: str = "output") -> Any:
    """The record after the text "new" was entered into a TextArea."""
    found = config(text_area(name, to), shows=shows)
    fields = TaskFields.find(found.fields)
    return annotated(data | OWN, [text(name, "new")], found, fields=fields)


@pytest.mark.parametrize(
    "name", ["output", "answer", "edited_answer", "new-response", "Corrected output", "correction"]
)
def test_a_text_area_edits_the_answer_that_its_name_or_its_object_says(name: str) -> None:
    record = {"instruction": "Add.", "input": "1, 2", "output": "3", "source": "s"}
    assert edited(record, name) == record | {"output": "new"}


@pytest.mark.parametrize(
    ("record", "changed"),
    [
        ({"prompt": "p", "completion": "c"}, {"completion": "new"}),
        ({"prompt": "p", "response": "c"}, {"response": "new"}),
        ({"instruction": "i", "output": ""}, {"output": "new"}),
        ({"instruction": "i"}, {"output": "new"}),
    ],
)
def test_the_answer_goes_where_the_schema_has_it(
    record: dict[str, Any], changed: dict[str, Any]
) -> None:
    assert edited(record, "edited_answer", shows="winnow_answer") == record | changed


@pytest.mark.parametrize(
    ("turns", "last"),
    [
        (
            [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
            {"role": "assistant", "content": "new"},
        ),
        (
            [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}],
            {"from": "gpt", "value": "new"},
        ),
        (
            [{"role": "user", "content": "q"}, {"role": "assistant", "content": ""}],
            {"role": "assistant", "content": "new"},
        ),
    ],
)
def test_the_answer_of_a_conversation_is_its_last_turn(
    turns: list[dict[str, str]], last: dict[str, str]
) -> None:
    for field in ("messages", "conversations"):
        record = edited({field: turns}, "edited_answer", shows="winnow_answer")
        assert record == {field: [turns[0], last]}


def test_an_answer_that_a_conversation_lacks_is_added() -> None:
    asked = {"role": "user", "content": "q"}
    record = edited({"messages": [asked]}, "answer", shows="winnow_answer")
    assert record == {"messages": [asked, {"role": "assistant", "content": "new"}]}


def test_a_conversation_that_is_text_stays_text() -> None:
    turns = '[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]'
    record = edited({"messages": turns}, "answer", shows="winnow_answer")
    assert record == {"messages": turns.replace('"a"', '"new"')}


def test_a_prompt_that_was_shown_with_its_input_takes_both_places() -> None:
    record = {"instruction": "Add.", "input": "1, 2", "output": "3"}
    assert edited(record, "new_prompt", to="prompt") == record | {"instruction": "new", "input": ""}
    assert edited(record, "new_prompt") == record | {"instruction": "new"}
    assert edited(record, "new_input") == record | {"input": "new"}


def test_fields_that_were_added_to_show_a_text_do_not_come_back() -> None:
    record = {"instruction": "Add 1 and 2.", "output": "3"}
    found = LabelConfig.parse(
        '<View><Text name="q" value="$question"/><Text name="r" value="$response"/>'
        + text_area("response", "r")
        + "</View>"
    )
    own = OWN | {"winnow_key": record_key(record)}
    data = record | own | {"question": "Add 1 and 2.", "response": "3"}
    fields = TaskFields.find(found.fields)
    assert annotated(data, [text("response", "new")], found, fields=fields) == record | {
        "output": "new"
    }


def test_comments_choices_and_numbers_become_fields_and_overwrite_none() -> None:
    found = config(
        text_area("comment"),
        '<Choices name="verdict" toName="shown"><Choice value="keep"/></Choices>',
        '<Choices name="topics" toName="shown" choice="multiple"><Choice value="a"/></Choices>',
        '<Number name="source" toName="shown"/>',
        '<Rating name="stars" toName="shown"/>',
    )
    result = [
        text("comment", "one", "two"),
        {"from_name": "verdict", "value": {"choices": ["keep"]}},
        {"from_name": "topics", "value": {"choices": ["a", "b"]}},
        {"from_name": "source", "value": {"number": 4}},
        {"from_name": "stars", "value": {"rating": 5}},
        {"from_name": "unknown", "value": {"text": ["x"]}},
        {"from_name": "verdict"},
    ]
    record = {"instruction": "i", "output": "o", "source": "s"}
    fields = TaskFields.find(found.fields)
    assert annotated(record | OWN, result, found, fields=fields) == record | {
        "comment": "one\ntwo",
        "verdict": "keep",
        "topics": ["a", "b"],
        "annotated_source": 4,
        "stars": 5,
    }


@pytest.mark.parametrize(
    "region",
    [
        7,
        {"from_name": ["comment"], "value": {"text": ["x"]}},
        {"from_name": "comment", "value": {"text": 7}},
        {"from_name": "comment", "value": {"text": [7]}},
        {"from_name": "verdict", "value": {"choices": 7}},
        {"from_name": "verdict", "value": {"choices": [{}]}},
    ],
)
def test_a_region_that_holds_no_entry_changes_nothing(region: Any) -> None:
    found = config(
        text_area("comment"),
        '<Choices name="verdict" toName="shown"><Choice value="keep"/></Choices>',
    )
    record = {"instruction": "i", "output": "o"}
    fields = TaskFields.find(found.fields)
    assert annotated(record | OWN, [region], found, fields=fields) == record


def test_a_ground_truth_counts_most_then_the_last_change_and_never_a_skipped_one() -> None:
    old = {"id": 1, "updated_at": "2026-01-01T00:00:00Z"}
    new = {"id": 2, "updated_at": "2026-01-02T00:00:00Z"}
    truth = old | {"id": 3, "ground_truth": True}
    skipped = {"id": 4, "updated_at": "2026-01-03T00:00:00Z", "was_cancelled": True}
    assert newest([new, old, skipped]) == new
    assert newest([new, truth, skipped]) == truth
    assert newest([skipped]) is None
