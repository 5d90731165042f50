"""What is measured at a checkpoint is exactly what training learned: answer and EOS, under the run's template."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tests.fakes import EOS, FakeEngine, token_losses
from winnow.evaluation import evaluate_block, evaluate_blocks
from winnow.records.example import Example, Flag, Rejection, RejectionReason, Turn
from winnow.scores import unpack_flags
from winnow.spec import RunSpec
from winnow.trajectory import LOSS_SCHEMA

SPEC = RunSpec.make(method="s2l", template="plain", max_length=64)
Row = Example | Rejection


def example(row: int, *contents: str) -> Example:
    roles = ["user", "assistant"] * len(contents)
    turns = tuple(
        Turn(role=role, content=content)  # type: ignore[arg-type]
        for role, content in zip(roles, contents, strict=False)
    )
    return Example(row=row, turns=turns)


def evaluated(rows: list[Row], engine: FakeEngine | None = None) -> pa.RecordBatch:
    return evaluate_block(rows, engine=engine or FakeEngine(), spec=SPEC, on_rows=lambda _: None)


ROWS: list[Row] = [
    example(0, "Sing", "la la"),
    Rejection(row=1, reason=RejectionReason.MALFORMED, detail="line 2: not JSON"),
    example(2, "p" * 100, "beyond"),
    example(3, "Count", "one " * 30),
    example(4, "Sing", " \n"),
    example(5, "ab", "cd", "ef", "ghi"),
]


def test_the_answer_and_its_end_are_measured_and_nothing_else() -> None:
    found = evaluated(ROWS)
    tokens = [*b"Sing\nla la", EOS]
    assert found.column("nll")[0].as_py() == pytest.approx(sum(token_losses(tokens)[5:]))
    assert found.column("num_tokens")[0].as_py() == len("la la") + 1


def test_every_row_has_a_loss_or_a_reason_in_its_place() -> None:
    found = evaluated(ROWS)
    assert found.schema == LOSS_SCHEMA
    assert found.column("row").to_pylist() == list(range(6))
    assert found.column("reason").to_pylist() == [
        None, "malformed", "prompt_fills_window", None, None, None,
    ]  # fmt: skip
    for line in found.to_pylist():
        assert (line["nll"] is None) == (line["reason"] is not None)


def test_what_is_cut_or_blank_is_flagged() -> None:
    flags = [unpack_flags(bits) for bits in evaluated(ROWS).column("flags").to_pylist()]
    assert flags == [(), (), (), (Flag.TRUNCATED,), (Flag.BLANK_ANSWER,), ()]
    assert evaluated(ROWS).column("num_tokens")[3].as_py() == 64 - len("Count\n")


def test_answers_of_a_conversation_are_summed() -> None:
    found = evaluated(ROWS)
    assert found.column("num_tokens")[5].as_py() == len("cd") + len("ghi") + 2


def test_a_loss_that_is_not_finite_is_a_reason() -> None:
    found = evaluated(ROWS, FakeEngine(poison="la la"))
    assert found.column("reason")[0].as_py() == "non_finite_loss"
    assert found.column("nll")[0].as_py() is None


def test_where_memory_ran_out_every_row_says_so() -> None:
    found = evaluated(ROWS, FakeEngine(batch_spans=64, memory_spans=2))
    flags = [Flag.REPLANNED in unpack_flags(bits) for bits in found.column("flags").to_pylist()]
    assert flags == [True, False, False, True, True, True]


def test_a_window_shorter_than_the_spec_is_what_counts() -> None:
    found = evaluated(ROWS, FakeEngine(window=20))
    assert found.column("num_tokens")[3].as_py() == 20 - len("Count\n")


def test_blocks_are_evaluated_as_each_by_itself_and_progress_goes_on() -> None:
    heard: list[int] = []
    blocks = [ROWS[:2], ROWS[2:]]
    found = evaluate_blocks(blocks, engine=FakeEngine(), spec=SPEC, on_rows=heard.append)
    assert [batch.to_pylist() for batch in found] == [
        evaluated(block).to_pylist() for block in blocks
    ]
    assert heard == sorted(heard)
    assert heard[-1] == len(ROWS)
