"""`winnow select`: from stored scores, without a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import TINY, Result


@pytest.fixture
def scored(winnow: Callable[..., Result], dataset: Path) -> Path:
    """The scores of the dataset."""
    scores = dataset.with_name("scores.jsonl")
    assert winnow("score", dataset, "--model", TINY, "--scores", scores).code == 0
    return scores


@pytest.mark.parametrize(
    "options",
    [
        ["--ratio", "0.3"],
        ["--count", "5", "--strategy", "bottom", "--order", "score"],
        ["--ratio", "0.5", "--strategy", "random", "--seed", "7"],
        ["--ratio", "1", "--max-score", "0.98", "--include-scores"],
    ],
)
def test_it_gives_the_bytes_that_scoring_gave(
    winnow: Callable[..., Result], dataset: Path, scored: Path, options: list[str]
) -> None:
    assert winnow("score", dataset, "--model", TINY, *options, "-o", "a.jsonl").code == 0
    assert winnow("select", scored, "--data", dataset, *options, "-o", "b.jsonl").code == 0
    assert Path("a.jsonl").stat().st_size > 0
    assert Path("a.jsonl").read_bytes() == Path("b.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--ratio", "0.1", "-o", "k.jsonl"], "name the dataset they belong to with --data"),
        (["--data", "data.jsonl", "--ratio", "0.1"], "with -o SUBSET"),
        (["--data", "data.jsonl", "-o", "k.jsonl"], "exactly one of ratio and count"),
        (["--data", "scores.jsonl", "--ratio", "0.1", "-o", "scores.jsonl"], "is the input"),
    ],
)
def test_bad_options_are_refused(
    winnow: Callable[..., Result], scored: Path, options: list[str], told: str
) -> None:
    done = winnow("select", scored, *options)
    assert done.code == 2
    assert told in done.error_lines[0]
    assert not Path("k.jsonl").exists()


def test_scores_of_another_dataset_are_refused(
    winnow: Callable[..., Result], dataset: Path, scored: Path
) -> None:
    dataset.write_bytes(dataset.read_bytes().splitlines(keepends=True)[0])
    done = winnow("select", scored, "--data", dataset, "--ratio", "0.1", "-o", "k.jsonl")
    assert done.code == 2
    assert "not the dataset that was scored" in done.error_lines[0]


def test_a_run_needs_a_service_that_answers(winnow: Callable[..., Result]) -> None:
    done = winnow(
        "select", "run_abc", "--ratio", "0.1", "-o", "k.jsonl", "--url", "http://127.0.0.1:9"
    )
    assert done.code == 2
    assert "No Winnow service answers at http://127.0.0.1:9" in done.error_lines[0]
    assert list(Path().iterdir()) == []
