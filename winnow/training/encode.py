"""From conversations to what a model is trained on: token ids, and which of them are learned.

An answer is encoded as the score's conditioned pass encodes it (`winnow.proxy.encoding`, superfiltering), and its end
is learned too: prompt + answer + EOS is one text, cut on the right at the window, learned from `len(encode(prompt))`
on. Under a chat template the end is what the template itself writes after an answer, and EOS where it writes nothing.

A conversation is one sequence: each of its answers is learned, ends with its EOS, and is history for the next; the
rest is read, not learned. Where the template shows a later turn another history than it showed before (some drop what
an earlier answer thought), a new sequence of the row begins, whose history is only read. Answers of the assistant that
follow one another are one answer. What does not fit the window is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from winnow.proxy.engine import Span, Tokenizer
from winnow.proxy.templates import Render, chat_messages, renderer
from winnow.records.example import Example, Rejection, RejectionReason, Turn
from winnow.spec import Template

IGNORED = -100
"""The label of a token that is not learned, by the convention of torch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedSequence:
    """Token ids, and the ranges of them that are learned: each answer from its first token to the end of its EOS."""

    tokens: Sequence[int]
    learned: tuple[range, ...]

    @property
    def labels(self) -> list[int]:
        """The id of each token that is learned, `IGNORED` for the others."""
        labels = [IGNORED] * len(self.tokens)
        for answer in self.learned:
            labels[answer.start : answer.stop] = self.tokens[answer.start : answer.stop]
        return labels

    @property
    def spans(self) -> tuple[Span, ...]:
        """What an engine computes to find the loss of exactly the learned tokens."""
        return tuple(Span(tokens=self.tokens[: a.stop], start=a.start) for a in self.learned)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedCompletion:
    """The sequences of a row: one, unless the template rewrites history; each has a token to learn.

    `cut`: some of what there is to learn did not fit the window.
    """

    row: int
    cut: bool
    sequences: tuple[LearnedSequence, ...]


def encode_completion(
    examples: Sequence[Example], tokenizer: Tokenizer, *, template: Template, window: int
) -> list[EncodedCompletion | Rejection]:
    """Encode rows for training, one outcome for each in the order given; it depends on no other row.

    Raises:
        InvalidOption: the tokenizer lacks what the template needs.
    """
    render = renderer(template, tokenizer)
    outcomes = [_rounds(example, render, tokenizer, template) for example in examples]
    asked = [row for row in outcomes if isinstance(row, list)]
    # All texts at once, since a tokenizer is fastest on many.
    texts = [
        text for row in asked for part in row for text in (part.prompt, part.prompt + part.answer)
    ]
    first = [part.first for row in asked for part in row for _ in range(2)]
    encoded = iter(_encode(tokenizer, texts, first, special=template != "chat"))
    return [
        row
        if isinstance(row, Rejection)
        else _assemble(example.row, row, encoded, tokenizer.eos_id, window)
        for example, row in zip(examples, outcomes, strict=True)
    ]


class _Round(NamedTuple):
    """The text that comes before an answer, from where the round before ended, and the answer with its end."""

    prompt: str
    answer: str
    first: bool
    """Whether it begins a sequence."""
    add_eos: bool


def _rounds(
    example: Example, render: Render, tokenizer: Tokenizer, template: Template
) -> list[_Round] | Rejection:
    turns = _merged(example.turns)
    rounds: list[_Round] = []
    shown = ""
    asked = False
    for at, turn in enumerate(turns):
        if turn.role != "assistant":
            asked = True
        if turn.role != "assistant" or not turn.content or not asked:
            continue
        try:
            prompt = render(turns[:at])
            answer, add_eos = (
                _chat_answer(turns[: at + 1], prompt, tokenizer)
                if template == "chat"
                else (turn.content, True)
            )
        except ValueError as error:
            detail = f"The model's chat template refuses the conversation: {error} Use template=plain or alpaca."
            return Rejection(row=example.row, reason=RejectionReason.MALFORMED, detail=detail)
        goes_on = bool(rounds) and prompt.startswith(shown)
        rounds.append(
            _Round(prompt[len(shown) :] if goes_on else prompt, answer, not goes_on, add_eos)
        )
        shown = prompt + answer
    return rounds or _no_answer(example)


def _merged(turns: Sequence[Turn]) -> list[Turn]:
    merged: list[Turn] = []
    for role, group in groupby(turns, key=lambda turn: turn.role):
        if role == "assistant":
            content = "\n".join(turn.content for turn in group if turn.content)
            merged.append(Turn(role=role, content=content))
        else:
            merged += group
    return merged


def _chat_answer(turns: Sequence[Turn], prompt: str, tokenizer: Tokenizer) -> tuple[str, bool]:
    """The answer as the template writes it with its end, and whether the end is still to be added."""
    content = turns[-1].content
    whole = tokenizer.render_chat(chat_messages(turns), answered=True)
    if not whole.startswith(prompt):
        return content, True
    # A line break after the end of a turn is never asked of the model: it has stopped by then.
    answer = whole[len(prompt) :].rstrip()
    at = answer.find(content.strip())
    ends_by_itself = at < 0 or len(answer) > at + len(content.strip())
    return (answer, False) if ends_by_itself else (content, True)


def _encode(
    tokenizer: Tokenizer, texts: Sequence[str], first: Sequence[bool], *, special: bool
) -> list[list[int]]:
    """Ids of each text; only what begins a sequence has the special tokens of a beginning."""
    ids: list[list[int]] = [[]] * len(texts)
    for with_special in (True, False):
        chosen = [at for at, begins in enumerate(first) if (begins and special) is with_special]
        encoded = tokenizer.encode([texts[at] for at in chosen], special_tokens=with_special)
        for at, tokens in zip(chosen, encoded, strict=True):
            ids[at] = tokens
    return ids


@dataclass(slots=True)
class _Sequence:
    tokens: list[int] = field(default_factory=list)
    learned: list[range] = field(default_factory=list)


def _assemble(
    row: int,
    rounds: Sequence[_Round],
    encoded: Iterator[list[int]],
    eos_id: int | None,
    window: int,
) -> EncodedCompletion | Rejection:
    sequences: list[_Sequence] = []
    filled = False
    for part in rounds:
        prompt, both = next(encoded), next(encoded)
        if part.first:
            sequences.append(_Sequence())
        at = sequences[-1]
        begin = max(1, len(at.tokens) + len(prompt))
        at.tokens += both
        if part.add_eos and eos_id is not None and both[-1:] != [eos_id]:
            at.tokens.append(eos_id)
        filled = filled or begin >= window
        if learned := range(begin, min(window, len(at.tokens))):
            at.learned.append(learned)
    kept = tuple(
        LearnedSequence(tokens=one.tokens[: one.learned[-1].stop], learned=tuple(one.learned))
        for one in sequences
        if one.learned
    )
    if not kept:
        return _nothing_left(row, window, filled)
    cut = any(len(one.tokens) > window for one in sequences)
    return EncodedCompletion(row=row, sequences=kept, cut=cut)


def _no_answer(example: Example) -> Rejection:
    if any(turn.role == "assistant" and turn.content for turn in example.turns):
        detail = "No user or system turn comes before the assistant's. Put what it answers first."
        return Rejection(row=example.row, reason=RejectionReason.NO_ANSWER, detail=detail)
    detail = "The answer is empty. Fill it in, or leave the row out."
    return Rejection(row=example.row, reason=RejectionReason.EMPTY_ANSWER, detail=detail)


def _nothing_left(row: int, window: int, filled: bool) -> Rejection:
    if filled:
        reason = RejectionReason.PROMPT_FILLS_WINDOW
        detail = f"The prompt fills the window of {window} tokens, so no token of the answer is left to learn. "
        return Rejection(
            row=row, reason=reason, detail=detail + "Shorten the prompt, or raise max_length."
        )
    detail = "The answer has no token of its own. Lengthen it."
    return Rejection(row=row, reason=RejectionReason.ANSWER_TOO_SHORT, detail=detail)
