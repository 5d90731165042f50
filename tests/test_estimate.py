"""An estimate: exact where every row is looked at, close where a sample is, and never a score."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from tests.fakes import FakeEngine
from winnow.estimate import SAMPLE_BLOCKS, Estimate, estimate, spread
from winnow.evaluation import evaluate_block
from winnow.records.example import BLOCK_ROWS, Example, Flag, Rejection, RejectionReason, Turn
from winnow.scores import RowScore
from winnow.scoring import score_block
from winnow.spec import RunSpec

SPEC = RunSpec(max_length=64)


@dataclass
class Blocks:
    """Rows that are made up when they are asked for: long and short, some of them no example."""

    num_rows: int
    asked: list[int] = field(default_factory=list)

    @property
    def num_blocks(self) -> int:
        return -(-self.num_rows // BLOCK_ROWS)

    def outcomes(self, block: int) -> list[Example | Rejection]:
        self.asked.append(block)
        first = block * BLOCK_ROWS
        return [_row(row) for row in range(first, min(first + BLOCK_ROWS, self.num_rows))]


def _row(row: int) -> Example | Rejection:
    if row % 10 == 3:
        return Rejection(row=row, reason=RejectionReason.MALFORMED, detail="not JSON")
    num_words = random.Random(row).randrange(1, 12)  # noqa: S311
    answer = "" if row % 10 == 4 else f"{row} " + "word " * num_words
    question = Turn(role="user", content=f"Question {row}")
    return Example(row=row, turns=(question, Turn(role="assistant", content=answer)))


def estimated(blocks: Blocks, engine: FakeEngine | None = None) -> Estimate:
    return estimate(blocks, engine=engine or FakeEngine(), spec=SPEC, on_rows=lambda _: None)


def scored(blocks: Blocks) -> list[RowScore]:
    score = partial(score_block, engine=FakeEngine(), spec=SPEC, on_rows=lambda _: None)
    return [row for block in range(blocks.num_blocks) for row in score(blocks.outcomes(block))]


def test_counts_are_those_of_scoring_when_every_row_is_looked_at() -> None:
    blocks = Blocks(2 * BLOCK_ROWS + 100)
    found = estimated(blocks)
    rows = scored(blocks)
    assert (found.rows, found.rows_sampled) == (len(rows), len(rows))
    assert found.rejected_by_reason == Counter(row.reason for row in rows if row.reason)
    assert found.rows_scored == sum(row.score is not None for row in rows)
    assert found.rows_truncated == sum(Flag.TRUNCATED in row.flags for row in rows) > 0
    assert found.tokens_conditioned == sum(
        row.conditioned.num_tokens for row in rows if row.conditioned
    )
    assert found.tokens_direct == sum(row.direct.num_tokens for row in rows if row.direct)
    assert found.tokens_read > found.tokens_conditioned + found.tokens_direct


def test_counts_of_a_sample_are_close_and_add_up() -> None:
    blocks = Blocks(100 * BLOCK_ROWS)
    found = estimated(blocks)
    assert len(blocks.asked) == len(set(blocks.asked)) == SAMPLE_BLOCKS
    assert found.rows_sampled == SAMPLE_BLOCKS * BLOCK_ROWS
    assert found.rows_scored + found.rows_rejected == found.rows == 100 * BLOCK_ROWS
    assert found.share_rejected == pytest.approx(0.2, rel=0.01)
    whole = estimated(Blocks(16 * BLOCK_ROWS))
    assert found.tokens_direct / found.rows == pytest.approx(
        whole.tokens_direct / whole.rows, rel=0.02
    )


def test_the_same_dataset_and_seed_have_the_same_counts() -> None:
    first, second = (estimated(Blocks(50 * BLOCK_ROWS)).as_dict() for _ in range(2))
    for timed in ("seconds", "rows_timed"):
        del first[timed], second[timed]
    assert first == second


def test_the_time_is_that_of_all_rows_at_the_speed_of_the_timed_ones() -> None:
    engine = FakeEngine(batch_spans=16, batch_s=0.02)
    found = estimated(Blocks(4 * BLOCK_ROWS), engine)
    spans = 2 * found.rows_scored
    assert found.seconds == pytest.approx(0.02 * spans / 16, rel=0.5)
    assert found.rows_timed < BLOCK_ROWS
    assert found.rows_per_s == found.rows / found.seconds


def test_a_slow_engine_is_asked_for_a_few_rows_and_a_fast_one_for_no_more_than_a_block() -> None:
    slow = FakeEngine(batch_s=1.1)
    assert estimated(Blocks(BLOCK_ROWS), slow).rows_timed == 8
    assert sum(slow.calls) == 2 * (8 + 8)
    assert 0 < estimated(Blocks(40 * BLOCK_ROWS)).rows_timed <= BLOCK_ROWS


def test_a_dataset_of_which_nothing_can_be_scored_has_no_time() -> None:
    class Unusable(Blocks):
        def outcomes(self, block: int) -> list[Example | Rejection]:
            return [_row(10 * row + 4) for row in range(block, self.num_rows)]

    found = estimated(Unusable(5))
    assert (found.rows_rejected, found.rejected_by_reason) == (5, {"empty_answer": 5})
    assert (found.rows_timed, found.seconds, found.rows_per_s) == (0, None, None)
    assert found.share_truncated == 0.0


def test_what_the_listener_raises_stops_the_work() -> None:
    def stop(num_rows: int) -> None:
        raise InterruptedError(num_rows)

    blocks = Blocks(8 * BLOCK_ROWS)
    with pytest.raises(InterruptedError, match=str(BLOCK_ROWS)):
        estimate(blocks, engine=FakeEngine(), spec=SPEC, on_rows=stop)
    assert len(blocks.asked) == 1


@pytest.mark.parametrize(("num", "wanted"), [(1, 16), (16, 16), (17, 16), (1000, 16), (5, 2)])
def test_numbers_are_spread_over_equal_parts(num: int, wanted: int) -> None:
    drawn = spread(num, wanted, random.Random(1))  # noqa: S311
    assert len(drawn) == min(num, wanted)
    for part, number in enumerate(drawn):
        assert part * num // len(drawn) <= number < (part + 1) * num // len(drawn)


def test_a_trajectory_reads_all_rows_at_every_checkpoint_and_trains_before() -> None:
    spec = RunSpec.make(method="s2l", n_epochs=2, points=4, template="plain", batch_size=8)
    blocks = Blocks(100)
    found = estimate(blocks, engine=FakeEngine(), spec=spec, on_rows=lambda _: None)
    rows = evaluate_block(
        blocks.outcomes(0), engine=FakeEngine(), spec=spec, on_rows=lambda _: None
    )
    tokens = [tokens for tokens in rows.column("num_tokens").to_pylist() if tokens]
    assert (found.tokens_conditioned, found.tokens_direct) == (sum(tokens), 0)
    assert (found.rows_scored, found.rows_truncated) == (len(tokens), 0)
    # 80 rows are 10 steps an epoch: 0, 5, 10, 15 and 20 are the ends of epochs and the points.
    assert found.checkpoints == 5
    assert found.tokens_trained == 2 * found.tokens_read


def test_a_user_s_own_checkpoints_cost_no_training(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(b"")
    spec = RunSpec.make(method="s2l", checkpoints=str(tmp_path), template="plain")
    found = estimate(Blocks(20), engine=FakeEngine(), spec=spec, on_rows=lambda _: None)
    assert (found.checkpoints, found.tokens_trained) == (4, 0)
