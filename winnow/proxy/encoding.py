"""From conversations to spans of token ids: which tokens of an answer are scored, and after what.

`superfiltering` is the published convention (Superfiltering, arXiv 2402.00530). `encode` is the tokenizer with its
default special tokens:

    conditioned   encode(prompt + answer) cut at the window, scored from len(encode(prompt)) on
    direct        encode(answer) cut at window - len(encode(prompt)) + 1, scored from the second token on

Without a BOS token the direct pass thus misses the answer's first token, and where prompt and answer merge into one
token at their border the conditioned pass misses it too. Both are kept: they are in the published numbers.

`paired` scores the same tokens in both passes: the answer is encoded by itself, without special tokens, and cut first:

    conditioned   [BOS unless there] + encode(prompt) + answer[: room left in the window]
    direct        [BOS, or EOS if there is none] + the same answer ids

A text that spells a special token (`<|endoftext|>`) becomes that token, as the tokenizer has it by default. A chat
template writes its own special tokens, so none are added to what it renders.

A conversation is scored answer by answer, each after the whole history before it; sums are added over the answers and
divided last. An answer counts only if both passes have a token to score. The first answer that the window leaves no
room for is dropped with all after it, and the row flagged. Assistant turns before the first user or system turn answer
nothing: they are history, not answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from winnow.errors import InvalidOption
from winnow.proxy.engine import Span, Tokenizer
from winnow.proxy.templates import Render, renderer
from winnow.records.example import Example, Flag, Rejection, RejectionReason, Turn
from winnow.spec import Convention, Template


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedRow:
    """The spans of a row: a conditioned and a direct one for each answer that counts, at least one."""

    row: int
    conditioned: tuple[Span, ...]
    direct: tuple[Span, ...]
    flags: tuple[Flag, ...]

    @property
    def spans(self) -> tuple[Span, ...]:
        """The conditioned spans, then the direct ones."""
        return self.conditioned + self.direct


class EncodedAnswer(NamedTuple):
    """Both passes of one answer; where nothing can be scored, `prompt_tokens` says whether the window is to blame."""

    prompt_tokens: int
    conditioned: Span
    direct: Span
    truncated: bool

    def counts(self) -> bool:
        """Whether both passes have a token to score."""
        return all(len(span.tokens) > span.start for span in (self.conditioned, self.direct))


@dataclass(slots=True)
class _Row:
    """A row while its answers are encoded one after the other."""

    example: Example
    answers: Iterator[int]
    refusal: str | None = None
    encoded: list[EncodedAnswer] = field(default_factory=list)
    prompted: bool = False
    out_of_window: bool = False


def encode_block(
    examples: Sequence[Example],
    tokenizer: Tokenizer,
    *,
    template: Template,
    convention: Convention,
    window: int,
) -> list[EncodedRow | Rejection]:
    """Encode rows together, one outcome for each in the order given; the outcome of a row depends on no other row.

    Raises:
        InvalidOption: the tokenizer lacks what the template or the convention needs.
    """
    render = renderer(template, tokenizer)
    rows = [_Row(example, _answers(example.turns)) for example in examples]
    waiting = rows
    # The first answers of all rows together, then the second ones: a tokenizer is fastest on many texts, and a long
    # conversation stops where the window ends instead of being rendered once for each of its turns.
    while asked := [pair for row in waiting if (pair := _next_answer(row, render))]:
        prompts = [pair.prompt for pair in asked]
        answers = [pair.answer for pair in asked]
        encoded = (
            _paired(prompts, answers, tokenizer, window=window)
            if convention == "paired"
            else _superfiltering(
                prompts, answers, tokenizer, window=window, special=template != "chat"
            )
        )
        for pair, answer in zip(asked, encoded, strict=True):
            _add(pair.row, answer, window)
        waiting = [pair.row for pair in asked if not pair.row.out_of_window]
    return [_outcome(row, window, convention) for row in rows]


class _Pair(NamedTuple):
    row: _Row
    prompt: str
    answer: str


def _next_answer(row: _Row, render: Render) -> _Pair | None:
    at = next(row.answers, None)
    if at is None:
        return None
    try:
        prompt = render(row.example.turns[:at])
    except ValueError as error:
        row.refusal = str(error)
        return None
    return _Pair(row, prompt, row.example.turns[at].content)


def _answers(turns: Sequence[Turn]) -> Iterator[int]:
    asked = False
    for at, turn in enumerate(turns):
        if turn.role != "assistant":
            asked = True
        elif asked and turn.content:
            yield at


def _add(row: _Row, answer: EncodedAnswer, window: int) -> None:
    row.prompted = True
    row.out_of_window = answer.prompt_tokens >= window
    if answer.counts():
        row.encoded.append(answer)


def _superfiltering(
    prompts: Sequence[str],
    answers: Sequence[str],
    tokenizer: Tokenizer,
    *,
    window: int,
    special: bool,
) -> Iterator[EncodedAnswer]:
    together = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
    for prompt_ids, both_ids, answer_ids in zip(
        _encode(tokenizer, prompts, window, special=special),
        _encode(tokenizer, together, window, special=special),
        _encode(tokenizer, answers, window),
        strict=True,
    ):
        start = len(prompt_ids)
        room = max(0, window - start + 1)
        yield EncodedAnswer(
            prompt_tokens=start,
            conditioned=Span(tokens=both_ids[:window], start=max(1, start)),
            direct=Span(tokens=answer_ids[:room], start=1),
            truncated=len(both_ids) > window or len(answer_ids) > room,
        )


def _paired(
    prompts: Sequence[str],
    answers: Sequence[str],
    tokenizer: Tokenizer,
    *,
    window: int,
) -> Iterator[EncodedAnswer]:
    first = _first_token(tokenizer)
    for prompt_ids, answer_ids in zip(
        _encode(tokenizer, prompts, window, special=False),
        _encode(tokenizer, answers, window, special=False),
        strict=True,
    ):
        needs_bos = tokenizer.bos_id is not None and prompt_ids[:1] != [tokenizer.bos_id]
        context = [first, *prompt_ids] if needs_bos or not prompt_ids else prompt_ids
        kept = answer_ids[: max(0, window - len(context))]
        yield EncodedAnswer(
            prompt_tokens=len(context),
            conditioned=Span(tokens=[*context[:window], *kept], start=len(context)),
            direct=Span(tokens=[first, *kept], start=1),
            truncated=len(kept) < len(answer_ids),
        )


def _first_token(tokenizer: Tokenizer) -> int:
    for token in (tokenizer.bos_id, tokenizer.eos_id):
        if token is not None:
            return token
    raise InvalidOption(
        "convention=paired needs a model with a BOS or an EOS token. Use convention=superfiltering.",
        param="convention",
    )


CHARS_PER_TOKEN = 64
"""Tokens are rarely longer; where they are, the text is encoded in full."""
MARGIN_TOKENS = 64
"""How far from the cut of a text its ids are taken to be untouched by the cut."""


def _encode(
    tokenizer: Tokenizer, texts: Sequence[str], window: int, *, special: bool = True
) -> list[list[int]]:
    """Ids of each text, exact up to the window and a little beyond.

    A text of many megabytes is encoded in full only if its beginning does not fill the window already.
    """
    enough = window + MARGIN_TOKENS
    begins = [text[: enough * CHARS_PER_TOKEN] for text in texts]
    encoded = tokenizer.encode(begins, special_tokens=special)
    short = [
        at
        for at, (begin, text) in enumerate(zip(begins, texts, strict=True))
        if len(begin) < len(text) and len(encoded[at]) < enough
    ]
    whole = tokenizer.encode([texts[at] for at in short], special_tokens=special) if short else []
    for at, ids in zip(short, whole, strict=True):
        encoded[at] = ids
    return encoded


def _outcome(row: _Row, window: int, convention: Convention) -> EncodedRow | Rejection:
    if row.refusal is not None or not row.encoded:
        reason, detail = _why_not(row, window, convention)
        return Rejection(row=row.example.row, reason=reason, detail=detail)
    turns = row.example.turns
    flags = {
        Flag.TRUNCATED: any(answer.truncated for answer in row.encoded),
        Flag.BLANK_ANSWER: not any(turns[at].content.strip() for at in _answers(turns)),
        Flag.TURNS_DROPPED: row.out_of_window,
    }
    return EncodedRow(
        row=row.example.row,
        conditioned=tuple(answer.conditioned for answer in row.encoded),
        direct=tuple(answer.direct for answer in row.encoded),
        flags=tuple(flag for flag, applies in flags.items() if applies),
    )


def _why_not(row: _Row, window: int, convention: Convention) -> tuple[RejectionReason, str]:
    if row.refusal is not None:
        detail = f"The model's chat template refuses the conversation: {row.refusal} Use template=plain or alpaca."
        return RejectionReason.MALFORMED, detail
    if row.out_of_window:
        detail = f"The prompt fills the window of {window} tokens, so no token of the answer is left to score. "
        remedy = "Shorten the prompt, or use a model with a longer window."
        return RejectionReason.PROMPT_FILLS_WINDOW, detail + remedy
    if row.prompted:
        detail = "The answer has no token that both passes can score. Lengthen it"
        remedy = "." if convention == "paired" else ", or use convention=paired."
        return RejectionReason.ANSWER_TOO_SHORT, detail + remedy
    if any(turn.role == "assistant" and turn.content for turn in row.example.turns):
        detail = "No user or system turn comes before the assistant's. Put what it answers first."
        return RejectionReason.NO_ANSWER, detail
    return RejectionReason.EMPTY_ANSWER, "The answer is empty. Fill it in, or leave the row out."
