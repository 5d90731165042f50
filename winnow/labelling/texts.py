"""What an annotator reads of a row: its prompt and its answer as two texts, whatever the schema of the record.

    turns                                  prompt                                     answer
    -------------------------------------  -----------------------------------------  -----------------------
    instruction, input (if any), output    instruction, an empty line, input          output
    a conversation                         every turn before the last answer, with    the last assistant turn
                                           its role before it

Platforms keep values as JSON in PostgreSQL, where a single U+0000 or infinite number costs the import of a whole file.
`storable` is what can be kept everywhere; the record itself comes out unchanged in every other format.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from winnow.records.example import Turn
from winnow.records.json_text import NumberText, dump_as_written

MAX_DEPTH = 32
"""Levels of nesting that a value may have; what lies deeper stands there as JSON text."""

REPLACEMENT = "\ufffd"
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def prompt_and_answer(turns: Sequence[Turn]) -> tuple[str, str]:
    """The two texts of a row that was read; both empty if it has no turns."""
    answers = [at for at, turn in enumerate(turns) if turn.role == "assistant" and turn.content]
    if not answers:
        return "\n\n".join(turn.content for turn in turns), ""
    before = turns[: answers[-1]]
    if any(turn.role != "user" for turn in before):
        prompt = "\n\n".join(f"{turn.role}: {turn.content}" for turn in before)
    else:
        prompt = "\n\n".join(turn.content for turn in before)
    return prompt, turns[answers[-1]].content


def storable_text(text: str) -> str:
    """The text with U+FFFD for what is no character of a stored text: U+0000 and lone surrogates."""
    return _UNSTORABLE.sub(REPLACEMENT, text)


def storable(value: Any, depth: int = MAX_DEPTH) -> Any:
    """A value of `parse_as_written` as every platform can store it; `depth` is what may lie below it."""
    if isinstance(value, NumberText):
        return value if math.isfinite(float(value)) else str(value)
    if isinstance(value, str):
        return storable_text(value)
    if not isinstance(value, Mapping | list):
        return value
    if not depth:
        return storable_text(dump_as_written(value).decode())
    if isinstance(value, list):
        return [storable(item, depth - 1) for item in value]
    return {storable_text(name): storable(item, depth - 1) for name, item in value.items()}
