"""One record of instruction data becomes an `Example`, or a `Rejection` that says what to change.

    schema              fields                                          turns
    ------------------  ----------------------------------------------  ------------------------------------
    messages            messages: [{role, content}]                     as given
    ShareGPT            conversations: [{from, value}]                  as given
    Alpaca              instruction, input (optional), output           user, user (input if any), assistant
    prompt/completion   prompt, completion or response                  user, assistant

The first schema of this table whose fields are all there is taken, so files may mix them and tables may carry empty
columns of the others. `null` counts as absent. `system` or `system_prompt` beside any of them is a system turn in
front. A list of turns may be given as JSON text (CSV has no lists), its content as a list of text parts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from winnow.records.example import Example, Rejection, RejectionReason, Turn
from winnow.records.turns import Unusable, clean, kind_of, read_text, read_turns

CONVERSATION_FIELDS = ("messages", "conversations")
PAIRS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("instruction", ("output",)),
    ("prompt", ("completion", "response")),
)
SYSTEM_FIELDS = ("system", "system_prompt")
KNOWN_FIELDS: tuple[str, ...] = (
    *CONVERSATION_FIELDS, *SYSTEM_FIELDS, "instruction", "input", "output", "prompt", "completion", "response",
    "source", "id",
)  # fmt: skip
"""Every field that is read; the others only come out again."""

_NAMES = '"instruction" and "output", "prompt" and "completion", "messages", or "conversations"'


def to_example(record: object, *, row: int, where: str) -> Example | Rejection:
    """Read one parsed record; `where` ("line 17", "record 3") opens the detail of a rejection."""
    if not isinstance(record, Mapping):
        detail = f"{where}: this is {kind_of(record)}, not an object; write one object a record."
        return Rejection(row=row, reason=RejectionReason.WRONG_TYPE, detail=detail)
    try:
        turns = _turns(record)
    except Unusable as problem:
        return Rejection(row=row, reason=problem.reason, detail=f"{where}: {problem}.")
    return Example(
        row=row, turns=turns, source=_source(record.get("source")), id=_id(record.get("id"))
    )


def has_known_columns(columns: Collection[str]) -> bool:
    """Whether a table with these columns can hold records of a known schema."""
    return any(field in columns for field in CONVERSATION_FIELDS) or any(
        prompt in columns and any(answer in columns for answer in answers)
        for prompt, answers in PAIRS
    )


def _turns(record: Mapping[str, Any]) -> tuple[Turn, ...]:
    for field in CONVERSATION_FIELDS:
        value = record.get(field)
        if value is not None and value != "":
            turns = read_turns(value, field)
            return turns if turns[0].role == "system" else (*_system(record), *turns)
    for prompt, answers in PAIRS:
        if record.get(prompt) is None:
            continue
        for answer in answers:
            if record.get(answer) is not None:
                return (*_system(record), *_pair(record, prompt, answer))
    raise _missing(record)


def _system(record: Mapping[str, Any]) -> tuple[Turn, ...]:
    for field in SYSTEM_FIELDS:
        value = record.get(field)
        if value is not None and value != "":
            return (Turn(role="system", content=read_text(value, f'field "{field}"')),)
    return ()


def _pair(record: Mapping[str, Any], prompt: str, answer: str) -> list[Turn]:
    turns = [Turn(role="user", content=read_text(record[prompt], f'field "{prompt}"'))]
    more = record.get("input") if prompt == "instruction" else None
    if more is not None and more != "":
        turns.append(Turn(role="user", content=read_text(more, 'field "input"')))
    content = read_text(record[answer], f'field "{answer}"')
    if not content:
        raise Unusable(
            "empty_answer", f'field "{answer}" is empty; give the answer, or leave the record out'
        )
    turns.append(Turn(role="assistant", content=content))
    return turns


def _source(value: object) -> str | None:
    return clean(value) if isinstance(value, str) and value else None


def _id(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _source(value)


def _missing(record: Mapping[str, Any]) -> Unusable:
    for field in CONVERSATION_FIELDS:
        if field in record:
            return Unusable(
                "missing_field",
                f'field "{field}" is {_absence(record, field)}; give a list of turns',
            )
    for prompt, answers in PAIRS:
        if not any(field in record for field in (prompt, *answers)):
            continue
        lacking = prompt if record.get(prompt) is None else answers[0]
        return Unusable(
            "missing_field",
            f'field "{lacking}" is {_absence(record, lacking)}; the record needs "{prompt}" and "{answers[0]}"',
        )
    found = ", ".join(repr(str(name)[:40]) for name in list(record)[:8]) or "none at all"
    return Unusable("missing_field", f"no known fields (found {found}); name them {_NAMES}")


def _absence(record: Mapping[str, Any], field: str) -> str:
    if field not in record:
        return "missing"
    return "null" if record[field] is None else "empty"
