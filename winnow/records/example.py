"""The values that every other room speaks of: a turn, an example, a rejection.

An Alpaca `input` is a second user turn directly after the instruction, so that a template can tell the two apart:
`Turn(user, instruction), Turn(user, input), Turn(assistant, output)`. An empty input adds no turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Role = Literal["system", "user", "assistant"]

BLOCK_ROWS = 1024
"""Rows in a block: one Parquet row group, and the smallest unit of scoring work."""


class RejectionReason(StrEnum):
    """Why a row has no score. The value is what users see."""

    MALFORMED = "malformed"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    NO_ANSWER = "no_answer"
    EMPTY_ANSWER = "empty_answer"
    ANSWER_TOO_SHORT = "answer_too_short"
    PROMPT_FILLS_WINDOW = "prompt_fills_window"
    NOT_LEARNED = "not_learned"
    NON_FINITE_LOSS = "non_finite_loss"


class Flag(StrEnum):
    """What a reader of a scored row should know."""

    TRUNCATED = "truncated"
    BLANK_ANSWER = "blank_answer"
    UNLEARNED = "unlearned"
    TURNS_DROPPED = "turns_dropped"
    REPLANNED = "replanned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One message of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A row that can be encoded: at least one assistant turn, at least one of them not empty."""

    row: int
    turns: tuple[Turn, ...]
    source: str | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A row that gets no score; `detail` names the line, the field and the remedy."""

    row: int
    reason: RejectionReason
    detail: str
