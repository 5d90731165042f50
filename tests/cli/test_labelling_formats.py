"""Subsets for labelling platforms and spreadsheets, from the command line."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import RECORDS, TINY, Result

QUESTION = "00000000-0000-4000-8000-000000000001"
HARDEST = ["--count", "4", "--strategy", "bottom", "--order", "score"]


def test_a_file_is_scored_into_tasks(winnow: Callable[..., Result], dataset: Path) -> None:
    named = ["--output-format", "label_studio", "--from-name", "v", "--to-name", "a"]
    options = ["--model", TINY, *HARDEST, "-o", "tasks.json", *named]
    assert winnow("score", dataset, *options, "--scores", "scores.jsonl").code == 0
    scores = [json.loads(line) for line in Path("scores.jsonl").read_text().splitlines()]
    tasks = json.loads(Path("tasks.json").read_bytes())
    assert len(tasks) == 4
    for task in tasks:
        data, (prediction,) = task["data"], task["predictions"]
        row = data["winnow_row"]
        assert {name: data[name] for name in RECORDS[row]} == RECORDS[row]
        assert data["winnow_score"] == scores[row]["score"]
        assert "winnow_run" not in data
        assert prediction["model_version"].startswith(f"{TINY.name}@")
        assert prediction["result"][0]["from_name"] == "v"
    again = ["--data", dataset, *HARDEST, "-o", "again.json", *named]
    assert winnow("select", "scores.jsonl", *again).code == 0
    stored = json.loads(Path("again.json").read_bytes())
    assert {task["predictions"][0].pop("model_version") for task in stored} == {"scores"}
    for task in tasks:
        del task["predictions"][0]["model_version"]
    assert stored == tasks


def test_a_file_is_scored_into_bulks(winnow: Callable[..., Result], dataset: Path) -> None:
    bulk = ["--output-format", "argilla", "--question-id", QUESTION]
    done = winnow("score", dataset, "--model", TINY, *HARDEST, "-o", "-", *bulk)
    assert done.code == 0
    items = json.loads(done.out)["items"]
    assert all(item["external_id"].startswith("data-") for item in items)
    assert {item["suggestions"][0]["question_id"] for item in items} == {QUESTION}


def test_a_csv_may_be_for_a_spreadsheet(winnow: Callable[..., Result], dataset: Path) -> None:
    dataset.write_text('{"instruction": "=1+1", "output": "two, and some more"}\n')
    options = ["--model", TINY, "--count", "1", "--strategy", "bottom"]
    assert winnow("score", dataset, *options, "-o", "a.csv", "--escape", "spreadsheet").code == 0
    assert winnow("score", dataset, *options, "-o", "b.csv").code == 0
    for name, cell in (("a.csv", "'=1+1"), ("b.csv", "=1+1")):
        with Path(name).open(newline="", encoding="utf-8") as file:
            assert [each["instruction"] for each in csv.DictReader(file)] == [cell]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["-o", "t.jsonl", "--output-format", "label_studio"], "use .json"),
        (["-o", "t.json", "--output-format", "argilla"], "use .jsonl"),
        (["-o", "t.json", "--escape", "spreadsheet"], "escape belongs to format=csv"),
        (["-o", "t.json", "--to-name", "a"], "to_name belongs to format=label_studio"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    winnow: Callable[..., Result], dataset: Path, options: list[str], told: str
) -> None:
    done = winnow("score", dataset, "--model", TINY, "--ratio", "0.5", *options)
    assert done.code == 2
    assert told in done.error_lines[0]
    assert not {"t.json", "t.jsonl"} & {path.name for path in Path().iterdir()}
