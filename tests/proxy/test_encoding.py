"""Which tokens are scored, after what, and why a row is not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import BOS, EOS, ByteTokenizer
from tests.proxy.folders import GOLDEN, TINY
from winnow.errors import InvalidOption
from winnow.proxy.encoding import EncodedRow, encode_block
from winnow.proxy.engine import Span, Tokenizer
from winnow.proxy.tokenizer import HFTokenizer
from winnow.records.example import Example, Flag, Rejection, RejectionReason, Role, Turn

TOKENIZERS: list[Tokenizer] = [
    ByteTokenizer(), ByteTokenizer(bos=True), ByteTokenizer(adds_bos=True),
    HFTokenizer(TINY), HFTokenizer(GOLDEN / "tiny-gpt2-bos"),
]  # fmt: skip


def conversation(*pairs: tuple[Role, str], row: int = 0) -> Example:
    turns = tuple(Turn(role=role, content=content) for role, content in pairs)
    return Example(row=row, turns=turns)


def question(prompt: str, answer: str) -> Example:
    return conversation(("user", prompt), ("assistant", answer))


def encode(
    example: Example, tokenizer: Tokenizer | None = None, *, window: int = 64, **options: Any
) -> EncodedRow | Rejection:
    options = {"template": "plain", "convention": "superfiltering"} | options
    return encode_block([example], tokenizer or ByteTokenizer(), window=window, **options)[0]


def row(outcome: EncodedRow | Rejection) -> EncodedRow:
    assert isinstance(outcome, EncodedRow), outcome
    return outcome


def reason(outcome: EncodedRow | Rejection) -> RejectionReason:
    assert isinstance(outcome, Rejection), outcome
    assert outcome.detail
    return outcome.reason


def text(span: Span) -> str:
    return bytes(token for token in span.tokens if token < BOS).decode()


def test_superfiltering_scores_the_answer_after_the_prompt_and_from_its_second_token_alone() -> (
    None
):
    encoded = row(encode(question("Sing", "la la")))
    assert encoded.conditioned == (Span(tokens=list(b"Sing\nla la"), start=5),)
    assert encoded.direct == (Span(tokens=list(b"la la"), start=1),)


def test_superfiltering_counts_a_bos_that_the_tokenizer_adds_by_default() -> None:
    encoded = row(encode(question("Sing", "la"), ByteTokenizer(adds_bos=True)))
    assert encoded.conditioned == (Span(tokens=[BOS, *b"Sing\nla"], start=6),)
    assert encoded.direct == (Span(tokens=[BOS, *b"la"], start=1),)


def test_superfiltering_cuts_both_passes_at_the_window() -> None:
    encoded = row(encode(question("Sing", "la la la la"), window=8))
    assert [text(span) for span in (*encoded.conditioned, *encoded.direct)] == ["Sing\nla ", "la l"]
    assert encoded.flags == (Flag.TRUNCATED,)


def test_an_answer_that_just_fits_is_not_truncated() -> None:
    assert row(encode(question("Sing", "la"), window=7)).flags == ()


def test_a_prompt_leaves_room_for_one_token_or_fills_the_window() -> None:
    last = row(encode(question("Sing", "la"), window=6))
    assert [len(span.tokens) - span.start for span in (*last.conditioned, *last.direct)] == [1, 1]
    assert reason(encode(question("Sing!", "la"), window=6)) == RejectionReason.PROMPT_FILLS_WINDOW


def test_an_empty_answer_and_a_blank_one_are_different_things() -> None:
    assert reason(encode(question("Sing", ""))) == RejectionReason.EMPTY_ANSWER
    assert row(encode(question("Sing", " \n "))).flags == (Flag.BLANK_ANSWER,)


def test_an_answer_of_one_token_is_too_short_without_bos_and_fine_when_paired() -> None:
    outcome = encode(question("Sing", "a"))
    assert reason(outcome) == RejectionReason.ANSWER_TOO_SHORT
    assert isinstance(outcome, Rejection)
    assert "convention=paired" in outcome.detail
    paired = row(encode(question("Sing", "a"), convention="paired"))
    assert [len(span.tokens) - span.start for span in (*paired.conditioned, *paired.direct)] == [
        1,
        1,
    ]


def test_paired_begins_both_passes_with_bos_or_the_answer_alone_with_eos() -> None:
    with_bos = row(encode(question("Sing", "la"), ByteTokenizer(bos=True), convention="paired"))
    assert with_bos.conditioned == (Span(tokens=[BOS, *b"Sing\nla"], start=6),)
    assert with_bos.direct == (Span(tokens=[BOS, *b"la"], start=1),)
    without = row(encode(question("Sing", "la"), convention="paired"))
    assert without.conditioned == (Span(tokens=list(b"Sing\nla"), start=5),)
    assert without.direct == (Span(tokens=[EOS, *b"la"], start=1),)


def test_paired_does_not_double_a_bos_that_the_prompt_spells() -> None:
    tokenizer = HFTokenizer(GOLDEN / "tiny-gpt2-bos")
    encoded = row(encode(question("<|endoftext|>Sing", "la la"), tokenizer, convention="paired"))
    assert list(encoded.conditioned[0].tokens).count(0) == 1


def test_paired_needs_a_token_to_begin_with() -> None:
    class Bare(ByteTokenizer):
        eos_id = None

    with pytest.raises(InvalidOption, match="superfiltering"):
        encode(question("Sing", "la"), Bare(), convention="paired")


@given(
    prompt=st.text(max_size=60),
    answer=st.text(min_size=1, max_size=60),
    window=st.integers(8, 80),
    template=st.sampled_from(["plain", "alpaca"]),
    tokenizer=st.sampled_from(TOKENIZERS),
)
def test_paired_scores_the_same_tokens_in_both_passes_within_the_window(
    prompt: str, answer: str, window: int, template: str, tokenizer: Tokenizer
) -> None:
    outcome = encode(
        question(prompt, answer), tokenizer, window=window, template=template, convention="paired"
    )
    if isinstance(outcome, Rejection):
        return
    for conditioned, direct in zip(outcome.conditioned, outcome.direct, strict=True):
        assert conditioned.tokens[conditioned.start :] == direct.tokens[direct.start :]
        assert len(direct.tokens) <= len(conditioned.tokens) <= window


@given(
    prompt=st.text(max_size=60),
    answer=st.text(max_size=60),
    window=st.integers(8, 80),
    tokenizer=st.sampled_from(TOKENIZERS),
    convention=st.sampled_from(["superfiltering", "paired"]),
)
def test_a_span_always_fits_the_window_and_has_a_token_to_score(
    prompt: str, answer: str, window: int, tokenizer: Tokenizer, convention: str
) -> None:
    outcome = encode(question(prompt, answer), tokenizer, window=window, convention=convention)
    if isinstance(outcome, EncodedRow):
        for span in (*outcome.conditioned, *outcome.direct):
            assert 1 <= span.start < len(span.tokens) <= window


def test_every_answer_of_a_conversation_follows_the_whole_history() -> None:
    encoded = row(
        encode(
            conversation(("user", "ab"), ("assistant", "cd"), ("user", "ef"), ("assistant", "gh"))
        )
    )
    assert [text(span) for span in encoded.conditioned] == ["ab\ncd", "ab\ncd\nef\ngh"]
    assert [text(span) for span in encoded.direct] == ["cd", "gh"]
    assert encoded.flags == ()


def test_an_answer_with_nothing_to_score_in_one_pass_counts_in_neither() -> None:
    encoded = row(
        encode(
            conversation(("user", "ab"), ("assistant", "c"), ("user", "ef"), ("assistant", "gh"))
        )
    )
    assert [text(span) for span in encoded.conditioned] == ["ab\nc\nef\ngh"]
    assert [text(span) for span in encoded.direct] == ["gh"]


def test_answers_beyond_the_window_are_dropped_from_both_passes_and_flagged() -> None:
    talk = conversation(
        ("user", "ab"), ("assistant", "cd"), ("user", "e" * 60), ("assistant", "gh"),
        ("user", "i"), ("assistant", "jk"),
    )  # fmt: skip
    encoded = row(encode(talk))
    assert [text(span) for span in encoded.conditioned] == ["ab\ncd"]
    assert len(encoded.direct) == 1
    assert encoded.flags == (Flag.TURNS_DROPPED,)


def test_what_the_assistant_says_before_any_prompt_is_history() -> None:
    greeted = row(encode(conversation(("assistant", "Hi"), ("user", "ab"), ("assistant", "cd"))))
    assert [text(span) for span in greeted.conditioned] == ["Hi\nab\ncd"]
    assert reason(encode(conversation(("assistant", "Hi")))) == RejectionReason.NO_ANSWER


def test_a_system_turn_is_a_prompt() -> None:
    encoded = row(encode(conversation(("system", "Sing"), ("assistant", "la"))))
    assert text(encoded.conditioned[0]) == "Sing\nla"


def test_a_chat_template_writes_its_own_special_tokens() -> None:
    encoded = row(encode(question("Sing", "la"), ByteTokenizer(adds_bos=True), template="chat"))
    assert encoded.conditioned[0].tokens == list(b"<user>Sing\n<assistant>la")


def test_a_conversation_that_the_chat_template_refuses_is_rejected_and_the_others_are_not() -> None:
    refused = conversation(
        ("system", "a"), ("user", "b"), ("system", "c"), ("assistant", "de"), row=7
    )
    outcomes = encode_block(
        [refused, question("Sing", "la")], ByteTokenizer(),
        template="chat", convention="paired", window=64,
    )  # fmt: skip
    assert reason(outcomes[0]) == RejectionReason.MALFORMED
    assert outcomes[0].row == 7
    assert isinstance(outcomes[1], EncodedRow)


def test_a_model_without_a_chat_template_refuses_the_run() -> None:
    with pytest.raises(InvalidOption, match="chat template"):
        encode(question("Sing", "la"), ByteTokenizer(has_chat_template=False), template="chat")


def test_rows_are_encoded_alone_as_they_are_together() -> None:
    examples = [question("p" * at, "an answer") for at in range(70)]
    options: Any = {"template": "plain", "convention": "superfiltering", "window": 64}
    together = encode_block(examples, ByteTokenizer(), **options)
    assert together == [encode(example) for example in examples]


@pytest.mark.parametrize("unit", ["word and word ", "-" * 400, "\n" * 300 + "x"])
def test_only_the_beginning_of_a_huge_text_is_encoded_and_nothing_shows_it(unit: str) -> None:
    class Counting(HFTokenizer):
        num_chars = 0

        def encode(self, texts: Any, *, special_tokens: bool = True) -> list[list[int]]:
            self.num_chars += sum(map(len, texts))
            return super().encode(texts, special_tokens=special_tokens)

    huge = unit * (1_000_000 // len(unit))
    tokenizer = Counting(TINY)
    encoded = row(encode(question("Say it.", huge), tokenizer, window=128))
    whole = tokenizer._tokenizer("Say it.\n" + huge, verbose=False)["input_ids"]
    assert encoded.conditioned[0].tokens == whole[:128]
    assert encoded.flags[0] == Flag.TRUNCATED
    assert tokenizer.num_chars < 100_000
