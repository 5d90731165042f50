r"""How a conversation becomes the text that stands before an answer.

    plain    every earlier turn followed by a newline: "{instruction}\n", plus "{input}\n" if there is one
    alpaca   the prompt of Stanford Alpaca; later rounds repeat its headings
    chat     the tokenizer's own chat template, ready for the assistant to answer

Not covered: which of the text's tokens are scored (`winnow.proxy.encoding`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

from winnow.proxy.engine import Tokenizer
from winnow.records.example import Turn
from winnow.spec import Template

Render = Callable[[Sequence[Turn]], str]

ALPACA_PREAMBLE = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request."
)
ALPACA_PREAMBLE_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request."
)


def renderer(template: Template, tokenizer: Tokenizer) -> Render:
    """The function that renders the turns before an answer, of which at least one is not the assistant's."""
    if template == "chat":
        return lambda turns: tokenizer.render_chat(chat_messages(turns))
    return plain if template == "plain" else alpaca


def plain(turns: Sequence[Turn]) -> str:
    """Every turn on lines of its own."""
    return "".join(f"{turn.content}\n" for turn in turns)


def alpaca(turns: Sequence[Turn]) -> str:
    """The Alpaca prompt; a system turn takes the place of its first paragraph."""
    system = "\n".join(turn.content for turn in turns if turn.role == "system")
    spoken = [turn for turn in turns if turn.role != "system"]
    has_input = [turn.role for turn in spoken[:2]] == ["user", "user"]
    preamble = system or (ALPACA_PREAMBLE_WITH_INPUT if has_input else ALPACA_PREAMBLE)
    parts = [f"{preamble}\n\n"]
    for role, group in groupby(spoken, key=lambda turn: turn.role):
        contents = [turn.content for turn in group]
        parts.append(_alpaca_question(contents) if role == "user" else _alpaca_answer(contents))
    return "".join(parts)


def _alpaca_question(contents: Sequence[str]) -> str:
    context = "\n".join(contents[1:])
    middle = f"### Input:\n{context}\n\n" if context else ""
    return f"### Instruction:\n{contents[0]}\n\n{middle}### Response:"


def _alpaca_answer(contents: Sequence[str]) -> str:
    return "\n".join(contents) + "\n\n"


def chat_messages(turns: Sequence[Turn]) -> list[dict[str, str]]:
    """Messages for a chat template: consecutive turns of one role become one, since many templates demand that."""
    return [
        {"role": role, "content": "\n".join(turn.content for turn in group)}
        for role, group in groupby(turns, key=lambda turn: turn.role)
    ]
