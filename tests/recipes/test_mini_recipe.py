"""The recipe of the bundled model: what it reads, what a step does, and that a run can resume."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.optim import Optimizer

from recipes.mini.card import measure_positions, write_card
from recipes.mini.corpus import ARTICLE_FILES, RECORD_FILES, detokenise, plain_text, read_corpus
from recipes.mini.optimizers import OptimizerName, build_optimizers
from recipes.mini.schedule import FLOOR, LONG_ROW, learning_rate_factor, row_length
from recipes.mini.stream import TokenStream
from recipes.mini.train import main

WORDS = ["river", "lantern", "seven", "blue", "walks", "because", "under", "often", "stone"]


@pytest.fixture(autouse=True)
def ordinary_floats() -> Iterator[None]:
    """Training rounds the smallest floats to zero in its whole process; other tests need them."""
    yield
    torch.set_flush_denormal(False)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a small file in the place of each corpus, and one that must not be read."""
    folder = tmp_path / "data"
    folder.mkdir()
    source = np.random.default_rng(3)
    for file in RECORD_FILES:
        lines = [
            json.dumps(
                {
                    "instruction": " ".join(source.choice(WORDS, 12)),
                    "input": "",
                    "output": " ".join(source.choice(WORDS, 300)),
                }
            )
            for _ in range(100)
        ]
        (folder / file.name).write_text("\n".join(lines), encoding="utf-8")
    article = " \n = Title = \n \n " + " ".join(source.choice(WORDS, 3000)) + " . \n"
    for name in ARTICLE_FILES:
        (folder / name).write_text(article, encoding="utf-8")
    (folder / "alpaca_head.jsonl").write_text(
        json.dumps({"instruction": "forbidden", "input": "", "output": "forbidden"})
    )
    return folder


def test_the_corpus_leaves_alpaca_out_and_holds_every_hundredth_document_out(data: Path) -> None:
    corpus = read_corpus(data)

    assert len(corpus.held_out) == 5
    assert len(corpus.train) == 4 * 100 + 34 + 2 - 5
    assert not any("forbidden" in text for text in corpus.train + corpus.held_out)


def test_an_input_stands_between_instruction_and_answer() -> None:
    assert plain_text("Sort.", "b, a", "a, b") == "Sort.\nb, a\na, b"
    assert plain_text("Sing.", "", "La.") == "Sing.\nLa."


def test_wikitext_reads_like_ordinary_writing() -> None:
    line = ' In 1990 @-@ 91 it sold 2 @,@ 500 copies ( or so ) , and Ann \'s " big day " came . '

    assert detokenise(line) == 'In 1990-91 it sold 2,500 copies (or so), and Ann\'s "big day" came.'


def test_the_learning_rate_rises_and_then_falls_to_the_floor() -> None:
    factors = [learning_rate_factor(step / 1000) for step in range(1001)]

    assert max(factors) == pytest.approx(1, abs=0.02)
    assert factors[0] < 0.1
    assert factors[-1] == pytest.approx(FLOOR)
    assert factors[100:] == sorted(factors[100:], reverse=True)


def test_at_least_15_percent_of_the_batches_have_long_rows_and_they_begin_at_once() -> None:
    lengths = [row_length(step, step / 1000) for step in range(1000)]

    assert lengths.count(LONG_ROW) >= 150
    assert LONG_ROW in lengths[:10]


def test_targets_are_the_inputs_one_token_later_across_rows() -> None:
    stream = TokenStream([np.arange(100), np.arange(100, 200)])
    inputs, targets = stream.take(3, 8)

    assert inputs.shape == (3, 8)
    assert (inputs.ravel()[1:] == targets.ravel()[:-1]).all()


def test_a_stream_goes_on_from_a_remembered_place_into_the_next_pass() -> None:
    documents = [np.arange(40), np.arange(40, 80)]
    stream = TokenStream(documents)
    for _ in range(3):
        stream.take(3, 8)
    resumed = stream.moved_to(stream.epoch, stream.cursor)

    assert stream.epoch == 0
    assert (stream.take(3, 8)[0] == resumed.take(3, 8)[0]).all()
    assert stream.epoch == 1


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_optimizers_that_resume_go_on_as_if_they_had_not_stopped(name: OptimizerName) -> None:
    torch.manual_seed(0)
    # Named as GPT-2 names them: a layer of the trunk, and what comes after.
    trunk = torch.nn.ModuleDict({"h": torch.nn.Linear(8, 6)})
    model = torch.nn.ModuleDict({"transformer": trunk, "ln_f": torch.nn.Linear(6, 5)})
    inputs = torch.randn(4, 8)

    def step(optimizers: list[Optimizer]) -> None:
        model["ln_f"](trunk["h"](inputs)).square().mean().backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()

    first = build_optimizers(model, name)
    step(first)
    weights = copy.deepcopy(model.state_dict())
    states = copy.deepcopy([optimizer.state_dict() for optimizer in first])
    step(first)
    expected = copy.deepcopy(model.state_dict())
    model.load_state_dict(weights)
    resumed = build_optimizers(model, name)
    for optimizer, state in zip(resumed, states, strict=True):
        optimizer.load_state_dict(state)
    step(resumed)

    assert all(expected[key].equal(value) for key, value in model.state_dict().items())


def test_a_run_trains_resumes_and_installs_a_model_with_a_card(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, target = tmp_path / "work", tmp_path / "installed"
    # Muon multiplies in bfloat16 whatever the processor is; that it resumes is tested on small matrices.
    options = [
        *["--data", str(data), "--work", str(work), "--install", str(target)],
        *["--optimizer", "adamw"],
    ]
    monkeypatch.setattr("recipes.mini.train.BATCH_TOKENS", LONG_ROW)
    monkeypatch.setattr(sys, "argv", ["train", *options, "--minutes", "0.001"])
    main()
    first = json.loads((work / "log.jsonl").read_text().splitlines()[-1])
    minutes = str((first["seconds"] + 0.1) / 60)
    monkeypatch.setattr(sys, "argv", ["train", *options, "--minutes", minutes, "--resume"])
    main()
    last = json.loads((work / "log.jsonl").read_text().splitlines()[-1])
    positions = measure_positions(target, data)
    card = write_card(work / "log.jsonl", positions=positions, bench="| bench |")

    assert last["step"] > first["step"] >= 1
    assert (target / "model.safetensors").stat().st_size < 16_000_000
    assert {"config.json", "tokenizer.json", "tokenizer_config.json"} <= {
        file.name for file in target.iterdir()
    }
    assert "share-alike" in card
    assert "$" not in card
