"""The learning rate that a small model is given: the largest at which the loss of rows not seen clearly falls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset

from tests.training.conftest import TINY
from winnow.proxy.tokenizer import HFTokenizer
from winnow.proxy.torch_model import load_model
from winnow.records.example import Example
from winnow.training import learning_rate
from winnow.training.encode import EncodedCompletion, encode_completion
from winnow.training.hyperparameters import SAFE_RATE, RateChoice
from winnow.training.learning_rate import Row, Sample, choose_rate, clearly_falls

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def sequences(examples: list[Example]) -> Dataset:
    outcomes = encode_completion(examples, HFTokenizer(TINY), template="plain", window=128)
    encoded = [
        one for row in outcomes if isinstance(row, EncodedCompletion) for one in row.sequences
    ]
    return Dataset.from_dict(
        {
            "input_ids": [list(one.tokens) for one in encoded],
            "labels": [one.labels for one in encoded],
        }
    )


def rows_of_length(num_rows: int, num_tokens: int) -> Dataset:
    """Rows of equal length, each told by its first token."""
    rows = [[row, *range(1, num_tokens)] for row in range(num_rows)]
    return Dataset.from_dict({"input_ids": rows, "labels": rows})


def choose(sequences: Dataset, **options: Any) -> RateChoice:
    model = load_model(TINY, torch.float32).requires_grad_(requires_grad=True)
    before = [parameter.clone() for parameter in model.parameters()]
    choice = choose_rate(
        model,
        Sample.draw(sequences, batch_size=4, seed=42),
        **{"seed": 42, "dtype": "float32", "on_batch": lambda: None} | options,
    )
    assert all(map(torch.equal, before, model.parameters())), "the model was changed"
    return choice


def test_a_rate_at_which_the_loss_rises_is_passed_over_for_a_smaller_one(
    sequences: Dataset,
) -> None:
    choice = choose(sequences, rates=(3.0, 3e-3, 1e-3))
    assert choice.learning_rate == 3e-3
    diverged, fallen = choice.tried
    assert diverged.loss is None or diverged.loss > choice.loss_before
    assert fallen.loss is not None
    assert fallen.loss < 0.98 * choice.loss_before


def test_equal_rows_and_seed_choose_equally(sequences: Dataset) -> None:
    torch.manual_seed(1)
    first = choose(sequences)
    torch.manual_seed(2)
    assert choose(sequences) == first


def test_where_no_rate_helps_it_is_that_of_large_models(sequences: Dataset) -> None:
    choice = choose(sequences, rates=(1e-9, 1e-10))
    assert choice.learning_rate == SAFE_RATE
    assert [one.learning_rate for one in choice.tried] == [1e-9, 1e-10]


def test_weights_that_are_no_numbers_any_more_have_no_loss(sequences: Dataset) -> None:
    choice = choose(sequences, rates=(1e30,))
    assert choice.tried[0].loss is None


@pytest.mark.parametrize(
    ("before", "after", "falls"),
    [
        ([3.0, 4.0, 5.0], [2.8, 3.8, 4.8], True),
        ([3.0, 4.0, 5.0], [2.99, 3.99, 4.99], False),  # by less than 2 %
        ([3.0, 4.0, 5.0], [4.5, 3.9, 3.0], False),  # of too few rows
        ([3.0, 4.0, 5.0], [2.8, 3.8, np.nan], False),
        ([3.0], [2.8], True),
    ],
)
def test_a_loss_falls_clearly_when_it_does_for_most_rows_and_by_enough(
    before: list[float], after: list[float], falls: bool
) -> None:
    assert clearly_falls(np.array(before), np.array(after)) is falls


@pytest.mark.parametrize(
    ("num_rows", "num_tokens", "batch_size"),
    [(2500, 20, 64), (2500, 500, 64), (300, 130, 8), (41, 30, 4), (2, 10, 8)],
)
def test_a_sample_is_small_and_measured_on_rows_that_are_not_trained_on(
    num_rows: int, num_tokens: int, batch_size: int
) -> None:
    sample = Sample.draw(rows_of_length(num_rows, num_tokens), batch_size=batch_size, seed=42)
    trained = {row.input_ids[0] for step in sample.steps for row in step}
    held_out = {row.input_ids[0] for row in sample.held_out}
    assert held_out
    assert not trained & held_out
    assert len(trained | held_out) <= 2000
    assert len(held_out) <= max(1, num_rows // 5)
    assert all(1 <= len(step) <= batch_size for step in sample.steps)
    assert 8 <= len(sample.steps) <= 24
    tokens = sum(len(row.input_ids) for step in sample.steps for row in step)
    assert tokens <= learning_rate.TRY_TOKENS
    again = Sample.draw(rows_of_length(num_rows, num_tokens), batch_size=batch_size, seed=42)
    assert again == sample


def test_a_row_that_is_alone_is_both_trained_on_and_measured() -> None:
    sample = Sample.draw(rows_of_length(1, 5), batch_size=8, seed=42)
    only = Row([0, 1, 2, 3, 4], [0, 1, 2, 3, 4])
    assert sample == Sample(steps=[[only]] * 8, held_out=[only])


def test_a_choice_is_read_as_it_was_written(sequences: Dataset, tmp_path: Path) -> None:
    choice = choose(sequences, rates=(1e30, 1e-3))
    choice.write(tmp_path / "choice.json")
    assert RateChoice.read(tmp_path / "choice.json") == choice
