"""Which ids a model is trained on, and which of them it learns."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.fakes import BOS, EOS, ByteTokenizer
from tests.training.conftest import TINY
from winnow.proxy.encoding import EncodedRow, encode_block
from winnow.proxy.engine import Tokenizer
from winnow.proxy.tokenizer import HFTokenizer
from winnow.records.example import Example, Rejection, RejectionReason, Role, Turn
from winnow.spec import Template
from winnow.training.encode import EncodedCompletion, LearnedSequence, encode_completion


def row(*turns: tuple[Role, str]) -> Example:
    return Example(row=3, turns=tuple(Turn(role=role, content=content) for role, content in turns))


QUESTION = row(("user", "Why?"), ("assistant", "Because."))
TALK = row(("user", "Hi"), ("assistant", "Hello"), ("user", "Bye"), ("assistant", "Goodbye"))


def encode(
    example: Example,
    *,
    template: Template = "plain",
    window: int = 256,
    tokenizer: Tokenizer | None = None,
) -> EncodedCompletion | Rejection:
    given = tokenizer or ByteTokenizer()
    return encode_completion([example], given, template=template, window=window)[0]


def sequences(outcome: EncodedCompletion | Rejection) -> tuple[LearnedSequence, ...]:
    assert isinstance(outcome, EncodedCompletion), outcome
    return outcome.sequences


def learned(sequence: LearnedSequence) -> list[str]:
    """What is learned, as text; EOS is `|`."""
    return [
        "".join("|" if token == EOS else chr(token) for token in sequence.tokens[a.start : a.stop])
        for a in sequence.learned
    ]


def read(sequence: LearnedSequence) -> str:
    return "".join("|" if token == EOS else chr(token) for token in sequence.tokens)


def test_the_answer_and_its_end_are_learned_and_nothing_else() -> None:
    (one,) = sequences(encode(QUESTION))
    assert read(one) == "Why?\nBecause.|"
    assert learned(one) == ["Because.|"]
    assert one.labels == [-100] * 5 + [*b"Because.", EOS]


@pytest.mark.parametrize("template", ["plain", "alpaca"])
def test_but_for_its_end_it_is_what_the_score_conditions_on(template: Template) -> None:
    tokenizer = HFTokenizer(TINY)
    examples = [
        QUESTION,
        row(("system", "Be brief."), ("user", "a b"), ("user", "c"), ("assistant", " d e f")),
    ]
    scored = encode_block(
        examples, tokenizer, template=template, convention="superfiltering", window=128
    )
    trained = encode_completion(examples, tokenizer, template=template, window=128)
    for score, outcome in zip(scored, trained, strict=True):
        assert isinstance(score, EncodedRow)
        (one,) = sequences(outcome)
        (span,) = one.spans
        assert span.tokens == [*score.conditioned[0].tokens, tokenizer.eos_id]
        assert span.start == score.conditioned[0].start


def test_the_window_cuts_the_answer_on_the_right() -> None:
    (one,) = sequences(encode(QUESTION, window=8))
    assert learned(one) == ["Bec"]
    assert len(one.tokens) == 8


def test_every_answer_of_a_conversation_is_learned_once_in_one_sequence() -> None:
    (one,) = sequences(encode(TALK, template="plain"))
    assert learned(one) == ["Hello|", "Goodbye|"]
    assert read(one) == "Hi\nHello|\nBye\nGoodbye|"
    (span, _) = one.spans
    assert (len(span.tokens), span.start) == (9, 3)


def test_turns_that_the_window_leaves_no_room_for_are_dropped() -> None:
    (one,) = sequences(encode(TALK, window=12))
    assert learned(one) == ["Hello|"]
    assert read(one) == "Hi\nHello|"


def test_consecutive_answers_are_one_and_a_leading_one_is_history() -> None:
    example = row(
        ("assistant", "Welcome"),
        ("user", "a"),
        ("assistant", "b"),
        ("assistant", "c"),
        ("assistant", "d"),
    )
    (one,) = sequences(encode(example))
    assert learned(one) == ["b\nc\nd|"]


def test_a_history_that_is_told_differently_later_begins_a_new_sequence() -> None:
    # Under alpaca a system turn stands at the top, wherever it came.
    example = row(
        ("user", "a"), ("assistant", "b"), ("system", "S"), ("user", "c"), ("assistant", "d")
    )
    first, second = sequences(encode(example, template="alpaca"))
    assert (learned(first), learned(second)) == (["b|"], ["d|"])
    assert read(second).startswith("S\n\n### Instruction:\na\n\n### Response:b")


def test_only_the_beginning_of_a_sequence_has_the_special_tokens_of_one() -> None:
    (one,) = sequences(encode(TALK, tokenizer=ByteTokenizer(adds_bos=True)))
    assert one.tokens[0] == BOS
    assert list(one.tokens).count(BOS) == 1


class Turned(ByteTokenizer):
    """Ends a turn as ChatML does, and shows no thoughts of earlier answers."""

    def render_chat(self, messages: list[dict[str, str]], *, answered: bool = False) -> str:  # type: ignore[override]
        def shown(at: int, message: dict[str, str]) -> str:
            past = at < len(messages) - 1
            return message["content"].rpartition("~")[2] if past else message["content"]

        lines = [f"<{one['role']}>{shown(at, one)}$\n" for at, one in enumerate(messages)]
        return "".join(lines) + ("" if answered else "<assistant>")


def test_under_a_chat_template_the_end_of_the_turn_is_learned_in_place_of_eos() -> None:
    (one,) = sequences(encode(TALK, template="chat", tokenizer=Turned()))
    assert read(one) == "<user>Hi$\n<assistant>Hello$\n<user>Bye$\n<assistant>Goodbye$"
    assert learned(one) == ["Hello$", "Goodbye$"]


def test_a_chat_template_that_writes_no_end_is_given_eos() -> None:
    (one,) = sequences(encode(QUESTION, template="chat"))
    assert learned(one) == ["Because.|"]


def test_a_chat_template_that_drops_old_thoughts_makes_a_sequence_of_each_answer() -> None:
    thinking = row(("user", "x"), ("assistant", "hm~A"), ("user", "y"), ("assistant", "B"))
    first, second = sequences(encode(thinking, template="chat", tokenizer=Turned()))
    assert learned(first) == ["hm~A$"]
    assert read(second) == "<user>x$\n<assistant>A$\n<user>y$\n<assistant>B$"
    assert learned(second) == ["B$"]


def test_a_real_chat_template_is_read_and_its_end_of_turn_learned(tmp_path: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "config.json"):
        shutil.copy(TINY / name, tmp_path)
    (tmp_path / "chat_template.jinja").write_text(
        "{% for message in messages %}<{{ message.role }}>{{ message.content | trim }}<|endoftext|>\n{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    tokenizer = HFTokenizer(tmp_path)
    (one,) = sequences(encode(TALK, template="chat", tokenizer=tokenizer))
    whole = "<user>Hi<|endoftext|>\n<assistant>Hello<|endoftext|>\n<user>Bye<|endoftext|>\n<assistant>Goodbye"
    assert one.tokens == [*tokenizer.encode([whole])[0], tokenizer.eos_id]
    taken = [list(one.tokens[answer.start : answer.stop]) for answer in one.learned]
    assert taken == [[*ids, tokenizer.eos_id] for ids in tokenizer.encode(["Hello", "Goodbye"])]


@pytest.mark.parametrize(
    ("example", "window", "reason"),
    [
        (QUESTION, 5, RejectionReason.PROMPT_FILLS_WINDOW),
        (row(("user", "a"), ("assistant", "")), 99, RejectionReason.EMPTY_ANSWER),
        (row(("assistant", "a"), ("user", "b")), 99, RejectionReason.NO_ANSWER),
    ],
)
def test_a_row_with_nothing_to_learn_is_rejected_with_its_reason(
    example: Example, window: int, reason: RejectionReason
) -> None:
    outcome = encode(example, window=window)
    assert isinstance(outcome, Rejection)
    assert (outcome.row, outcome.reason) == (3, reason)


def test_a_conversation_that_the_chat_template_refuses_is_rejected_alone() -> None:
    refused = row(
        ("system", "a"), ("user", "b"), ("system", "c"), ("user", "d"), ("assistant", "e")
    )
    outcomes = encode_completion([refused, QUESTION], ByteTokenizer(), template="chat", window=99)
    assert isinstance(outcomes[0], Rejection)
    assert outcomes[0].reason is RejectionReason.MALFORMED
    assert isinstance(outcomes[1], EncodedCompletion)
