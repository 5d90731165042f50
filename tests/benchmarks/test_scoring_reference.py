"""The yardstick itself: the published procedure as the benchmark runs it, and the operations that it counts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig

from benchmarks.scoring.flops import Shape
from benchmarks.scoring.reference import Reference
from benchmarks.scoring.rows import Row
from benchmarks.scoring.work import Work
from winnow.proxy.engine import Span

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = {"tiny-gpt2": "superfiltering.jsonl", "tiny-gpt2-bos": "superfiltering_bos.jsonl"}


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """The procedure sets the threads of its process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=list(CASES))
def model(request: pytest.FixtureRequest) -> Path:
    return GOLDEN / str(request.param)


def read_cases(model: Path) -> tuple[list[Row], list[dict[str, Any]]]:
    lines = (GOLDEN / CASES[model.name]).read_bytes().splitlines()
    records = [json.loads(line) for line in lines]
    names = ("instruction", "input", "output")
    rows = [Row(**{name: record[name] for name in names}) for record in records]
    return rows, [record["expected"] for record in records]


def reference(model: Path) -> Reference:
    return Reference(model, device=torch.device("cpu"), threads=1)


def test_the_procedure_gives_the_golden_losses(model: Path) -> None:
    rows, expected = read_cases(model)
    means = list(reference(model).one_by_one(rows))
    scored = [case["status"] == "scored" for case in expected]
    assert [mean is not None for mean in means] == scored
    assert sum(scored) >= 39
    for mean, case in zip(means, expected, strict=True):
        if mean is not None:
            golden = (case["loss_conditioned"], case["loss_direct"])
            assert mean == pytest.approx(golden, abs=1e-4)


def test_padded_batches_give_the_same_losses(model: Path) -> None:
    rows, _ = read_cases(model)
    procedure = reference(model)
    one_by_one, padded = list(procedure.one_by_one(rows)), list(procedure.padded(rows))
    assert len(padded) == len(rows)
    for alone, together in zip(one_by_one, padded, strict=True):
        assert (alone is None) == (together is None)
        if alone is not None:
            assert together == pytest.approx(alone, abs=2e-5, rel=1e-5)


def test_the_work_is_that_of_the_tokens_which_the_procedure_scores(model: Path) -> None:
    rows, expected = read_cases(model)
    procedure, work = reference(model), Work.of(rows, model)
    for row, case, tokens, flops in zip(rows, expected, work.tokens, work.flops, strict=True):
        labels = [label for _, labels in procedure.encode(row) for label in labels[1:]]
        scored = sum(label >= 0 for label in labels) if case["status"] == "scored" else 0
        assert tokens == scored
        assert (flops > 0) == (scored > 0)


SIZES = {"vocab_size": 640, "num_hidden_layers": 3, "hidden_size": 64, "num_attention_heads": 4}
MODELS: dict[str, Callable[[], Any]] = {
    "gpt2": lambda: GPT2Config(**SIZES),
    "llama, grouped queries": lambda: LlamaConfig(
        **SIZES, intermediate_size=96, num_key_value_heads=2, head_dim=32
    ),
}


@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS)
def test_operations_are_those_that_torch_counts(config: Callable[[], Any]) -> None:
    model = AutoModelForCausalLM.from_config(config(), attn_implementation="eager")
    shape = Shape.of_model(model)
    read = 20
    with FlopCounterMode(display=False) as counter:
        model(input_ids=torch.arange(read)[None], use_cache=False)
    counted = counter.get_flop_counts()["Global"]
    attention = counted.pop(torch.ops.aten.bmm, 0)
    whole = Span(tokens=list(range(read + 1)), start=1)
    # Torch computes every pair of positions, and masks those that look ahead; they are not needed.
    assert attention - (read - 1) * read // 2 * shape.attention == (
        shape.flops([whole]) - sum(counted.values())
    )
    assert shape.flops([whole]) == (
        read * (shape.trunk + shape.head) + read * (read + 1) // 2 * shape.attention
    )


def test_a_position_that_is_only_read_needs_no_head() -> None:
    shape = Shape(trunk=1000, attention=10, head=100, matrices=(), window=16)
    span = Span(tokens=[1, 2, 3, 4], start=3)
    assert shape.flops([span]) == 3 * 1000 + 6 * 10 + 100
