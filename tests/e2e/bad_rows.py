"""Every kind of row that cannot be scored, with the reason it gets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class BadRow:
    """A line and its reason; `found_by_model`: it is an example, and only the tokens say that it cannot be scored."""

    line: bytes
    reason: str
    found_by_model: bool = False


BAD_ROWS = [
    BadRow(b"nonsense", "malformed"),
    BadRow(b'{"instruction": "Cut', "malformed"),
    BadRow(b'{"instruction": "Say hi.", "output": "\xff"}', "malformed"),
    BadRow(b"[1, 2]", "wrong_type"),
    BadRow(b'{"instruction": "Say hi."}', "missing_field"),
    BadRow(b'{"instruction": 7, "output": "Seven."}', "wrong_type"),
    BadRow(b'{"instruction": "Say hi.", "output": ["hi"]}', "wrong_type"),
    BadRow(b'{"instruction": "Say hi.", "output": ""}', "empty_answer"),
    BadRow(b'{"messages": [{"role": "user", "content": "Hello?"}]}', "no_answer"),
    BadRow(
        b'{"instruction": "Say a letter.", "output": "a"}', "answer_too_short", found_by_model=True
    ),
    BadRow(
        b'{"instruction": "' + b"word " * 400 + b'", "output": "I say so."}',
        "prompt_fills_window",
        found_by_model=True,
    ),
]
GOOD_ROWS = [
    b'{"instruction": "Say hi.", "output": "Hi to you and to everyone else."}',
    b'{"instruction": "Say bye.", "input": null, "output": "Bye to you and to everyone else."}',
]


def mixed(folder: Path) -> Path:
    """A file of them all, a good row first and last."""
    path = folder / "mixed.jsonl"
    lines = [GOOD_ROWS[0], *(bad.line for bad in BAD_ROWS), GOOD_ROWS[1]]
    path.write_bytes(b"\n".join(lines))
    return path
