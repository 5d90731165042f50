"""The text before an answer."""

from __future__ import annotations

import pytest

from tests.fakes import ByteTokenizer
from winnow.proxy.templates import alpaca, chat_messages, plain, renderer
from winnow.records.example import Role, Turn


def turns(*pairs: tuple[Role, str]) -> list[Turn]:
    return [Turn(role=role, content=content) for role, content in pairs]


def test_plain_is_every_turn_on_its_own_line() -> None:
    assert plain(turns(("user", "Sum up."), ("user", "It rained."))) == "Sum up.\nIt rained.\n"
    assert plain(turns(("user", ""))) == "\n"


def test_alpaca_is_the_prompt_of_stanford_alpaca() -> None:
    assert alpaca(turns(("user", "Sing."))) == (
        "Below is an instruction that describes a task. Write a response that appropriately completes the "
        "request.\n\n### Instruction:\nSing.\n\n### Response:"
    )
    assert alpaca(turns(("user", "Sum up."), ("user", "It rained."))) == (
        "Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nSum up.\n\n### Input:\nIt rained.\n\n### Response:"
    )


def test_alpaca_repeats_its_headings_for_later_rounds_and_begins_with_the_system_turn() -> None:
    history = turns(("system", "Be brief."), ("user", "a"), ("assistant", "b"), ("user", "c"))
    assert alpaca(history) == (
        "Be brief.\n\n### Instruction:\na\n\n### Response:b\n\n### Instruction:\nc\n\n### Response:"
    )


def test_consecutive_turns_of_a_role_are_one_chat_message() -> None:
    history = turns(("user", "Sum up."), ("user", "It rained."), ("assistant", "Rain."))
    assert chat_messages(history) == [
        {"role": "user", "content": "Sum up.\nIt rained."},
        {"role": "assistant", "content": "Rain."},
    ]


@pytest.mark.parametrize(
    ("template", "text"), [("plain", "hi\n"), ("chat", "<user>hi\n<assistant>")]
)
def test_a_template_is_chosen_by_name(template: str, text: str) -> None:
    render = renderer(template, ByteTokenizer())  # type: ignore[arg-type]
    assert render(turns(("user", "hi"))) == text
