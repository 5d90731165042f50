"""Each schema becomes turns; each way to be wrong has its reason, its field and its remedy."""

from __future__ import annotations

from typing import Any

import pytest

from winnow.records.example import Example, Rejection, Turn
from winnow.records.schemas import to_example

QUESTION = {"role": "user", "content": "q"}
ANSWER = {"role": "assistant", "content": "a"}


def usable(record: object) -> Example:
    outcome = to_example(record, row=7, where="line 8")
    assert isinstance(outcome, Example), outcome
    return outcome


def refused(record: object) -> Rejection:
    outcome = to_example(record, row=7, where="line 8")
    assert isinstance(outcome, Rejection), outcome
    return outcome


def spoken(record: object) -> list[tuple[str, str]]:
    return [(turn.role, turn.content) for turn in usable(record).turns]


def test_a_non_empty_input_is_a_second_user_turn() -> None:
    assert spoken({"instruction": "i", "input": "x", "output": "o"}) == [
        ("user", "i"),
        ("user", "x"),
        ("assistant", "o"),
    ]


@pytest.mark.parametrize("record", [{}, {"input": None}, {"input": ""}])
def test_an_absent_null_or_empty_input_is_no_turn(record: dict[str, Any]) -> None:
    assert len(usable({"instruction": "i", "output": "o", **record}).turns) == 2


@pytest.mark.parametrize("answer", ["completion", "response"])
def test_completion_and_response_are_both_answers(answer: str) -> None:
    assert spoken({"prompt": "p", answer: "a"}) == [("user", "p"), ("assistant", "a")]


def test_every_turn_of_a_conversation_is_kept_in_order() -> None:
    record = {
        "messages": [{"role": "system", "content": "s"}, QUESTION, ANSWER, QUESTION, ANSWER],
    }
    assert [turn.role for turn in usable(record).turns] == [
        "system", "user", "assistant", "user", "assistant",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "role"),
    [("human", "user"), ("gpt", "assistant"), ("chatgpt", "assistant"), ("bing", "assistant"),
     ("GPT", "assistant"), ("developer", "system"), ("system", "system")],
)  # fmt: skip
def test_role_names_of_published_sets_are_known(name: str, role: str) -> None:
    record = {"conversations": [{"from": name, "value": "x"}, {"from": "gpt", "value": "y"}]}
    assert usable(record).turns[0].role == role


def test_text_parts_of_a_content_list_are_joined() -> None:
    parts = [{"type": "text", "text": "a"}, "b", {"type": "output_text", "text": "c"}]
    assert usable({"messages": [{"role": "assistant", "content": parts}]}).turns[0].content == "abc"


def test_a_system_field_is_a_turn_in_front() -> None:
    for name in ("system", "system_prompt"):
        record = {"instruction": "i", "output": "o", name: "be kind"}
        assert usable(record).turns[0] == Turn(role="system", content="be kind")
    assert len(usable({"instruction": "i", "output": "o", "system": None}).turns) == 2


def test_a_conversation_with_its_own_system_turn_gets_no_second() -> None:
    record = {"system": "one", "messages": [{"role": "system", "content": "two"}, ANSWER]}
    assert [turn.content for turn in usable(record).turns] == ["two", "a"]


def test_turns_may_be_given_as_json_text() -> None:
    record = {
        "messages": '[{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]'
    }
    assert spoken(record) == [("user", "q"), ("assistant", "a")]


def test_the_first_schema_that_is_complete_is_taken() -> None:
    assert spoken({"messages": None, "conversations": "", "instruction": "i", "output": "o"}) == [
        ("user", "i"),
        ("assistant", "o"),
    ]
    assert spoken({"instruction": "i", "output": None, "prompt": "p", "response": "r"}) == [
        ("user", "p"),
        ("assistant", "r"),
    ]
    assert spoken({"prompt": "p", "messages": [QUESTION, ANSWER]}) == [
        ("user", "q"),
        ("assistant", "a"),
    ]


def test_white_space_is_an_answer() -> None:
    assert usable({"prompt": "p", "completion": " \n"}).turns[-1].content == " \n"


def test_one_answer_among_empty_ones_is_enough() -> None:
    record = {"messages": [{"role": "assistant", "content": ""}, QUESTION, ANSWER]}
    assert len(usable(record).turns) == 3


@pytest.mark.parametrize(
    ("given", "kept"),
    [("x", "x"), (17, "17"), (10**30, str(10**30)), (None, None), ("", None), (True, None), ([1], None)],
)  # fmt: skip
def test_an_id_is_kept_as_text(given: object, kept: str | None) -> None:
    assert usable({"prompt": "p", "response": "r", "id": given}).id == kept


def test_a_source_is_kept_if_it_is_text() -> None:
    assert usable({"prompt": "p", "response": "r", "source": "web"}).source == "web"
    assert usable({"prompt": "p", "response": "r", "source": 3}).source is None


def test_a_lone_surrogate_can_be_encoded() -> None:
    found = usable({"prompt": "\ud800", "response": "é\udfff", "source": "\ud800", "id": "\ud800"})
    assert found.turns[1].content == "é\ufffd"
    assert found.source == found.id == found.turns[0].content == "\ufffd"


@pytest.mark.parametrize(
    ("record", "reason", "words"),
    [
        ([1], "wrong_type", "a list, not an object"),
        ("text", "wrong_type", "a string, not an object"),
        (None, "wrong_type", "null, not an object"),
        ({}, "missing_field", "found none at all"),
        ({"question": "q", "answer": "a"}, "missing_field", "found 'question', 'answer'"),
        ({"instruction": "i"}, "missing_field", 'field "output" is missing'),
        ({"instruction": "i", "output": None}, "missing_field", 'field "output" is null'),
        ({"output": "o"}, "missing_field", 'field "instruction" is missing'),
        ({"prompt": "p"}, "missing_field", 'field "completion" is missing'),
        ({"messages": None}, "missing_field", 'field "messages" is null'),
        ({"messages": ""}, "missing_field", 'field "messages" is empty'),
        ({"instruction": "i", "output": 3}, "wrong_type", 'field "output" is a number'),
        ({"instruction": "i", "output": ["a"]}, "wrong_type", 'field "output" is a list'),
        ({"instruction": {}, "output": "o"}, "wrong_type", 'field "instruction" is an object'),
        ({"instruction": "i", "input": 1.5, "output": "o"}, "wrong_type", 'field "input" is a num'),
        ({"prompt": "p", "response": True}, "wrong_type", 'field "response" is a boolean'),
        ({"prompt": b"p", "response": "r"}, "wrong_type", 'field "prompt" is binary data'),
        ({"prompt": "p", "response": "r", "system": 1}, "wrong_type", 'field "system"'),
        ({"instruction": "i", "output": ""}, "empty_answer", 'field "output" is empty'),
        ({"messages": {"role": "user"}}, "wrong_type", "an object, not a list of turns"),
        ({"messages": "hello"}, "wrong_type", "a string, not a list of turns"),
        ({"messages": "{}"}, "wrong_type", "an object, not a list of turns"),
        ({"messages": ["hello"]}, "wrong_type", '"messages"[0] is a string'),
        ({"messages": [{"content": "x"}]}, "missing_field", '"messages"[0] has no role'),
        ({"messages": [{"role": 1, "content": "x"}]}, "wrong_type", "the role of"),
        ({"messages": [{"role": "poet", "content": "x"}]}, "wrong_type", "'poet'"),
        ({"messages": [QUESTION, {"role": "tool", "content": "x"}]}, "wrong_type", "tool turn"),
        ({"messages": [{"role": "function", "content": "x"}]}, "wrong_type", "function turn"),
        ({"messages": [{"role": "assistant", "content": None, "tool_calls": [{}]}]}, "wrong_type", "calls a tool"),
        ({"messages": [{"role": "assistant", "content": None}]}, "missing_field", "the content of"),
        ({"messages": [{"role": "assistant", "content": 5}]}, "wrong_type", "a number"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "wrong_type", "'image_url'"),
        ({"messages": [{"role": "user", "content": [5]}]}, "wrong_type", "a part that is a number"),
        ({"messages": []}, "no_answer", "no assistant turn"),
        ({"messages": [QUESTION]}, "no_answer", "no assistant turn"),
        ({"messages": [QUESTION, {"role": "assistant", "content": ""}]}, "empty_answer", "every"),
        ({"conversations": [{"from": "human", "value": "x"}]}, "no_answer", '"conversations"'),
    ],
)  # fmt: skip
def test_what_cannot_be_scored_says_where_and_why(record: object, reason: str, words: str) -> None:
    found = refused(record)
    assert (found.row, found.reason) == (7, reason)
    assert found.detail.startswith("line 8: ")
    assert words in found.detail
