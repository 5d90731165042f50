"""Which fields of a task are prompt, input and answer.

A task that Winnow made holds its record, whatever a project shows of it. Of others, in this order: what the user names;
what the labelling configuration shows, if it shows a conversation or both a prompt and an answer; the data as a record
of a known schema; fields of the data that are called like a prompt and an answer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self

from winnow.labelling.record_key import record_key
from winnow.records.schemas import (
    CONVERSATION_FIELDS,
    KNOWN_FIELDS,
    PAIRS,
    SYSTEM_FIELDS,
    has_known_columns,
)

PROMPT_NAMES = ("instruction", "prompt", "question", "query")
INPUT_NAMES = ("input", "context")
ANSWER_NAMES = ("output", "completion", "response", "answer")
OWN_PREFIX = "winnow_"
"""Begins the fields that Winnow puts into tasks."""

KEY = f"{OWN_PREFIX}key"
WHOLE_PROMPT = f"{OWN_PREFIX}prompt"
WHOLE_ANSWER = f"{OWN_PREFIX}answer"
"""Fields of a task that show its texts whatever the schema: instruction and input as one, the last answer."""

_KEPT = frozenset({*SYSTEM_FIELDS, "source", "id"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFields:
    """Names of fields in the data of a task; None means that the data decides. `turns` holds a conversation."""

    prompt: str | None = None
    answer: str | None = None
    input: str | None = None
    turns: str | None = None

    @classmethod
    def find(
        cls,
        shown: Collection[str],
        *,
        prompt: str | None = None,
        answer: str | None = None,
        input: str | None = None,  # noqa: A002  # the name of the field in Alpaca's schema
    ) -> Self:
        """The names that are given, and for the others what fits among the fields that a configuration shows."""
        return cls(
            prompt=prompt or _first(PROMPT_NAMES, shown),
            answer=answer or _first(ANSWER_NAMES, shown),
            input=input or _first(INPUT_NAMES, shown),
            turns=None if prompt or answer else _first(CONVERSATION_FIELDS, shown),
        )

    def record(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """The record in the data of a task, in a schema that `winnow.records` reads, where it may still be rejected.

        Fields of no schema stay in it, without those that Winnow put into the task. Empty if nothing looks like one.
        """
        own = own_fields(data)
        pushed = self._pushed(data, own)
        if pushed is not None:
            return pushed
        if self.turns in data:
            others = {*CONVERSATION_FIELDS} - {self.turns}
            return {name: value for name, value in own.items() if name not in others}
        if self.prompt in data and self.answer in data:
            return self._pair(data, own)
        if has_known_columns(own):
            return own
        found = TaskFields.find(own)
        return found._pair(data, own) if found.prompt and found.answer else {}  # noqa: SLF001  # its own class

    def _pushed(self, data: Mapping[str, Any], own: dict[str, Any]) -> dict[str, Any] | None:
        """The record that Winnow made the task of, without what was filled in to show it; None if it is not there.

        The texts that a project shows may be several turns joined, so the record is not read from them.
        """
        key = data.get(KEY)
        if not isinstance(key, str):
            return None
        for shown, text in ((self.prompt, WHOLE_PROMPT), (self.answer, WHOLE_ANSWER)):
            if shown in own and own[shown] == data.get(text):
                rest = {name: value for name, value in own.items() if name != shown}
                own = rest if record_key(rest) == key else own
        return own if record_key(own) == key else None

    def _pair(self, data: Mapping[str, Any], own: dict[str, Any]) -> dict[str, Any]:
        """`own` if the reader takes the same fields by itself, else these fields under the names of Alpaca."""
        if (self.prompt, self.answer) == _read_by_itself(own) and self.input in {None, "input"}:
            return own
        taken = {self.prompt, self.answer, self.input, *KNOWN_FIELDS} - _KEPT
        pair = {
            "instruction": data[self.prompt or ""],
            "input": data.get(self.input or ("input" if self.prompt == "instruction" else "")),
            "output": data[self.answer or ""],
        }
        return pair | {name: value for name, value in own.items() if name not in taken}


def own_fields(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a task without what Winnow added under names of its own."""
    return {name: value for name, value in data.items() if not name.startswith(OWN_PREFIX)}


def _first(names: Collection[str], fields: Collection[str]) -> str | None:
    return next((name for name in names if name in fields), None)


def _read_by_itself(record: Mapping[str, Any]) -> tuple[str, str] | None:
    """The fields of the pair that `winnow.records` takes from a record."""
    if any(record.get(field) for field in CONVERSATION_FIELDS):
        return None
    pairs = ((prompt, answer) for prompt, answers in PAIRS for answer in answers)
    present = (pair for pair in pairs if all(record.get(field) is not None for field in pair))
    return next(present, None)
