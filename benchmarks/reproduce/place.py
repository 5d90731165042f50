"""Where a reproduction finds its data and keeps what it computed, and how its tables look."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from winnow.records.example import Example, Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """`data`: files from outside the project, some absent maybe; `work`: results that a next time goes on from.

    `seeds`: how often a study is repeated.
    """

    data: Path
    work: Path
    threads: int = 1
    seeds: int = 5

    @property
    def golden(self) -> Path:
        """Reference outputs, a folder beside the data."""
        return self.data.parent / "golden"

    @property
    def tokenizers(self) -> Path:
        """Tokenizers of other projects, a folder beside the data."""
        return self.data.parent / "tokenizers"

    def folder(self, proof: str) -> Path:
        """The work folder of a proof, made if need be."""
        found = self.work / proof
        found.mkdir(parents=True, exist_ok=True)
        return found


def absent(*files: Path) -> str | None:
    """What a section says in place of its tables if one of the files it reads is not there."""
    missing = [file.name for file in files if not file.exists()]
    if not missing:
        return None
    return f"Not measured: there is no {' and no '.join(missing)} in the data folder."


def read_examples(file: Path, wanted: int | None = None) -> list[Example]:
    """The first records of a JSON Lines file with `instruction`, `input` and `output`."""
    with file.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for _, line in zip(range(wanted or 10**9), lines, strict=False)]
    return [_example(number, row) for number, row in enumerate(rows)]


def _example(number: int, row: dict[str, str]) -> Example:
    asked = [Turn(role="user", content=text) for text in (row["instruction"], row["input"]) if text]
    return Example(row=number, turns=(*asked, Turn(role="assistant", content=row["output"])))


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float | None) -> str:
    """Three decimals, or nothing."""
    return "" if value is None or value != value else f"{value:.3f}"  # noqa: PLR0124 - NaN
