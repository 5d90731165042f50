"""The key of a record: what rows, tasks and annotations of the same texts share."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import orjson

from winnow.labelling.texts import storable_text
from winnow.records.example import Example
from winnow.records.schemas import to_example

_KEY_BYTES = 16


def record_key(record: Mapping[str, Any] | Example) -> str | None:
    """32 hexadecimal digits that records of the same texts share, None for one that cannot be read as an example.

    A hash of the turns as `winnow.records` reads them, so `prompt` and `instruction` are alike, and of their storable
    texts, so a record has the key of its task.
    """
    example = record if isinstance(record, Example) else to_example(record, row=0, where="")
    if not isinstance(example, Example):
        return None
    turns = [(turn.role, storable_text(turn.content)) for turn in example.turns]
    return blake2b(orjson.dumps(turns), digest_size=_KEY_BYTES).hexdigest()
