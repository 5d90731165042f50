"""Rows to score: the same for every contestant, in the order of their file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from winnow.records.example import Example, Turn
from winnow.sample import sample_path

Means = tuple[float, float]
"""Mean losses of an answer in nats per token: given its prompt, and alone."""

KNOWN_FILES = ("alpaca_head.jsonl", "dolly.jsonl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A record with Alpaca's fields; an absent input is `""`."""

    instruction: str
    input: str
    output: str

    def example(self, row: int) -> Example:
        """The record as the engines get it."""
        prompt = [self.instruction, *([self.input] if self.input else [])]
        turns = [Turn(role="user", content=text) for text in prompt]
        return Example(row=row, turns=(*turns, Turn(role="assistant", content=self.output)))


def source_file(folder: Path) -> Path:
    """The first of the known datasets in `folder`, else the bundled sample."""
    files = [folder / name for name in KNOWN_FILES if (folder / name).is_file()]
    return files[0] if files else sample_path()


def read_rows(file: Path) -> list[Row]:
    """Every row of a JSONL file with Alpaca's fields."""
    with file.open(encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    return [
        Row(
            instruction=record["instruction"],
            input=record.get("input") or "",
            output=record["output"],
        )
        for record in records
    ]


def stratified(rows: Sequence[Row], wanted: int) -> list[Row]:
    """`wanted` rows at even distances in the order of length, given back in file order.

    So few rows have the lengths of the whole file, and file order still mixes them as the file does.
    """
    by_length = sorted(range(len(rows)), key=lambda at: (_num_chars(rows[at]), at))
    count = min(wanted, len(rows))
    chosen = [by_length[(2 * part + 1) * len(rows) // (2 * count)] for part in range(count)]
    return [rows[at] for at in sorted(chosen)]


def _num_chars(row: Row) -> int:
    return len(row.instruction) + len(row.input) + len(row.output)


def write_rows(rows: Sequence[Row], file: Path) -> None:
    """Write what `read_rows` reads."""
    records = [
        {"instruction": row.instruction, "input": row.input, "output": row.output} for row in rows
    ]
    file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
