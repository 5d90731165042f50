"""The statistics of transfer, and what is said where data is absent."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import rankdata
from tokenizers import Tokenizer

from benchmarks.reproduce import ifd_proxies, ranking, transfer_mini, transfer_published
from benchmarks.reproduce.place import Place, markdown, number
from benchmarks.reproduce.published import Ranking, published_lp, read_published, scores

TINY_TOKENIZER = Path(__file__).parents[1] / "golden" / "tiny-gpt2" / "tokenizer.json"
LEARNED_EARLY = [9.0, 2.0, 1.5, 1.0]
LEARNED_LATE = [9.0, 8.0, 5.0, 1.5]
NEVER_SCORED = [1.0, 1.0, 1.0, 1.0]
FORGOTTEN = [2.0, 3.0, 4.0, 5.0]


@pytest.fixture
def columns(tmp_path: Path) -> Path:
    file = tmp_path / "columns.npz"
    rows = [NEVER_SCORED, LEARNED_EARLY, LEARNED_LATE, FORGOTTEN]
    np.savez(file, model=np.array(rows).T)
    return file


def test_ranks_from_weights_are_those_of_rows_repeated_so_often() -> None:
    values = np.array([3.0, 1.0, 3.0, 2.0, 1.0])
    weights = np.array([2, 0, 1, 3, 1])
    levels = np.unique(values, return_inverse=True)[1]
    found = np.repeat(ranking._weighted_ranks(levels, weights.astype(float)), weights)
    assert found.tolist() == rankdata(np.repeat(values, weights)).tolist()


def test_the_interval_surrounds_the_partial_correlation() -> None:
    draw = np.random.default_rng(5)
    tokens = draw.integers(1, 100, 400).astype(float)
    shared = draw.normal(size=400)
    a, b = (np.log(tokens) + shared + draw.normal(size=400) for _ in range(2))
    found = ranking.transfer(a, b, tokens)
    assert found.low < found.partial < found.high < found.spearman
    assert found == ranking.transfer(a, b, tokens)


def test_what_length_explains_alone_has_no_partial_correlation() -> None:
    tokens = np.arange(1.0, 101.0)
    unrelated = np.random.default_rng(6).normal(size=100)
    assert ranking.transfer(-tokens, unrelated, tokens).interval == ""


def test_a_row_of_which_nothing_was_scored_is_the_hardest_by_the_published_rule_only(
    columns: Path,
) -> None:
    losses = read_published(columns)["model"]
    assert published_lp(losses)[0] == 0.0
    table = scores(losses)
    assert np.isnan(table.score).tolist() == [True, False, False, False]
    assert table.table.column("reason")[0].as_py() == "prompt_fills_window"
    every_row = read_published(columns, every_row=True)["model"]
    assert every_row.reasons == [None] * 4


def test_the_hardest_are_selected_without_rejected_and_unlearned_rows(columns: Path) -> None:
    table = scores(read_published(columns)["model"])
    assert Ranking.of_scores(table).lowest.tolist() == []  # a tenth of four rows
    values = np.array([5.0, np.nan, *range(18)])
    assert Ranking.of_values(values).lowest.tolist() == [2, 3]


@pytest.mark.parametrize("proof", [transfer_published, transfer_mini, ifd_proxies])
def test_a_section_says_which_data_is_absent(tmp_path: Path, proof: object) -> None:
    place = Place(data=tmp_path / "data", work=tmp_path / "work")
    text = proof.section(place)  # type: ignore[attr-defined]
    assert "Not measured: there is no " in text
    assert "alpaca_head.jsonl" in text


def test_the_length_of_an_answer_is_what_it_adds_to_its_prompt(tmp_path: Path) -> None:
    records = tmp_path / "records.jsonl"
    rows = [
        {"instruction": "Add.", "input": "1, 2", "output": "3"},
        {"instruction": "Say.", "input": "", "output": '"hi" there'},
    ]
    records.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = transfer_published.answer_tokens(records, TINY_TOKENIZER)
    encode = Tokenizer.from_file(str(TINY_TOKENIZER)).encode
    whole, prompt = (len(encode(f"### Response:{text}").ids) for text in (rows[1]["output"], ""))
    assert found.tolist()[1] == whole - prompt + 1
    assert len(found) == 2


def test_a_table_is_markdown_and_a_missing_number_an_empty_cell() -> None:
    text = markdown(["a", "b"], [[number(0.12345), number(None)], [number(float("nan")), "x"]])
    assert text.splitlines() == ["| a | b |", "| --- | --- |", "| 0.123 |  |", "|  | x |"]
