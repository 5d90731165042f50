"""Fixtures of the command line's tests: a command in this process, a small model, a small dataset."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import cli

TINY = Path(__file__).parents[1] / "golden" / "tiny-gpt2"

RECORDS = [
    {
        "instruction": f"Say the number {number}.",
        "input": "",
        "output": f"{number} is what {'you and ' * (number % 5)}I say.",
    }
    for number in range(20)
]


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def error_lines(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("error: ")]


@pytest.fixture
def winnow(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Result]:
    """Runs a command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Result:
        capfd.readouterr()
        code = cli.main([str(argument) for argument in arguments])
        return Result(code, *capfd.readouterr())

    return run


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Twenty good records, one a line."""
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    return path
