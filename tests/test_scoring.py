"""A block: one outcome for every row, in order, whatever stands in it."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.fakes import FakeEngine, token_losses
from winnow.errors import InvalidOption
from winnow.methods.ifd import ifd, loss_ratio
from winnow.proxy.engine import Span, SpanLoss
from winnow.records.example import Example, Flag, Rejection, RejectionReason, Turn
from winnow.scores import RowScore
from winnow.scoring import score_block, score_blocks, window
from winnow.spec import RunSpec

Row = Example | Rejection


def example(row: int, *contents: str) -> Example:
    """User and assistant in turn."""
    turns = tuple(
        Turn(role="assistant" if at % 2 else "user", content=content)
        for at, content in enumerate(contents)
    )
    return Example(row=row, turns=turns)


def score(rows: list[Row], engine: FakeEngine | None = None, **options: Any) -> list[RowScore]:
    spec = RunSpec.make(**options)
    return score_block(rows, engine=engine or FakeEngine(), spec=spec, on_rows=lambda _: None)


def total(*spans: tuple[str, int]) -> SpanLoss:
    """Loss of the bytes of each text from a position on, as the fake engine has it."""
    losses = [token_losses(list(text.encode()))[start:] for text, start in spans]
    return SpanLoss(nll=sum(sum(part) for part in losses), num_tokens=sum(map(len, losses)))


MIXED: list[Row] = [
    example(0, "Sing", "la la"),
    Rejection(row=1, reason=RejectionReason.MALFORMED, detail="line 2: not JSON"),
    example(2, "Say nothing", ""),
    example(3, "p" * 300, "beyond"),
    example(4, "Sing", "do re mi"),
]


def test_every_row_leaves_as_a_score_or_a_rejection_in_its_place() -> None:
    outcomes = score(MIXED)
    assert [outcome.row for outcome in outcomes] == [0, 1, 2, 3, 4]
    assert [outcome.reason for outcome in outcomes] == [
        None, "malformed", "empty_answer", "prompt_fills_window", None,
    ]  # fmt: skip
    for outcome in outcomes:
        assert (outcome.score is None) == (outcome.reason is not None) == bool(outcome.detail)


def test_a_score_is_the_ratio_of_both_passes_rounded() -> None:
    outcome = score(MIXED)[0]
    conditioned, direct = total(("Sing\nla la", 5)), total(("la la", 1))
    assert (outcome.conditioned, outcome.direct) == (conditioned, direct)
    assert outcome.score == round(ifd(conditioned, direct), 6)
    cherry = score(MIXED, statistic="loss_ratio")[0]
    assert cherry.score == round(loss_ratio(conditioned, direct), 6)


def test_answers_of_a_conversation_are_summed_before_they_are_divided() -> None:
    outcome = score([example(0, "ab", "cd", "ef", "ghi")])[0]
    assert outcome.conditioned == total(("ab\ncd", 3), ("ab\ncd\nef\nghi", 9))
    assert outcome.direct == total(("cd", 1), ("ghi", 1))


def test_the_engine_is_asked_once_for_a_block() -> None:
    engine = FakeEngine()
    score(MIXED, engine)
    assert engine.calls == [4]


def test_equal_spans_of_a_block_are_computed_once_and_every_row_has_its_score() -> None:
    rows: list[Row] = [
        example(0, "Sing", "la la"),
        example(1, "Hum", "la la"),
        example(2, "Sing", "la la"),
    ]
    engine, heard = FakeEngine(batch_spans=1), list[int]()
    outcomes = score_block(rows, engine=engine, spec=RunSpec(), on_rows=heard.append)
    assert engine.calls == [3]
    assert heard == [1, 2, 3]
    assert [outcome.score for outcome in outcomes] == [score([row])[0].score for row in rows]


def test_equal_tokens_scored_from_another_place_on_are_another_span() -> None:
    outcome = score([example(0, "a", "b\na\nb"), example(1, "a\nb", "a\nb")])
    assert [row.conditioned for row in outcome] == [
        total(("a\nb\na\nb", 2)), total(("a\nb\na\nb", 4)),
    ]  # fmt: skip


def test_where_memory_ran_out_every_score_of_the_block_says_so() -> None:
    plenty = score(MIXED, max_length=8)
    scarce = score(MIXED, FakeEngine(batch_spans=64, memory_spans=20), max_length=8)
    assert [row.score for row in scarce] == [row.score for row in plenty]
    for before, after in zip(plenty, scarce, strict=True):
        added = () if before.score is None else (Flag.REPLANNED,)
        assert after.flags == (*before.flags, *added)


def test_a_loss_that_is_not_finite_is_a_rejection() -> None:
    outcomes = score(MIXED, FakeEngine(poison="do re"))
    assert outcomes[4].reason is RejectionReason.NON_FINITE_LOSS
    assert "float32" in (outcomes[4].detail or "")
    assert outcomes[0].score is not None


def test_progress_never_goes_back_and_ends_at_all_rows() -> None:
    heard: list[int] = []
    rows: list[Row] = [*MIXED, *(example(row, "Sing", f"la la {row}") for row in range(5, 40))]
    engine = FakeEngine(batch_spans=7)
    score_block(rows, engine=engine, spec=RunSpec(), on_rows=heard.append)
    assert heard == sorted(heard)
    assert len(heard) > 5
    assert heard[-1] == len(rows)


def test_a_block_of_rejections_is_done_at_once() -> None:
    heard: list[int] = []
    outcomes = score_block([MIXED[1]], engine=FakeEngine(), spec=RunSpec(), on_rows=heard.append)
    assert outcomes[0].reason is RejectionReason.MALFORMED
    assert heard == [1]


def test_what_progress_raises_reaches_the_caller() -> None:
    class Cancelled(Exception):
        pass

    def cancel(_: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        score_block(MIXED, engine=FakeEngine(), spec=RunSpec(), on_rows=cancel)


def test_a_run_may_shorten_the_window_and_not_lengthen_it() -> None:
    engine = FakeEngine(window=64)
    assert window(engine, RunSpec()) == 64
    assert window(engine, RunSpec(max_length=16)) == 16
    with pytest.raises(InvalidOption, match="64 tokens"):
        window(engine, RunSpec(max_length=65))
    shortened = score([example(0, "Sing", "la la la la")], engine, max_length=8)
    assert shortened[0].flags == (Flag.TRUNCATED,)


def test_template_and_convention_of_the_run_are_used() -> None:
    outcome = score([example(0, "Sing", "la")], template="chat")[0]
    assert outcome.conditioned == total(("<user>Sing\n<assistant>la", 22))
    assert outcome.direct is not None
    assert outcome.direct.num_tokens == 2


def test_a_loss_that_is_infinite_in_one_pass_only_is_a_rejection() -> None:
    """The ratio alone would not show it: exp(-inf) is 0, a score like any other."""

    class InfiniteAlone(FakeEngine):
        def losses(self, spans: Sequence[Span], **listeners: Any) -> list[SpanLoss]:
            conditioned, direct = super().losses(spans, **listeners)
            return [conditioned, SpanLoss(nll=math.inf, num_tokens=direct.num_tokens)]

    (outcome,) = score([example(0, "Sing", "la la")], InfiniteAlone())
    assert (outcome.score, outcome.reason) == (None, RejectionReason.NON_FINITE_LOSS)


def test_blocks_have_the_outcomes_of_each_alone_and_progress_counts_through_all() -> None:
    blocks = [MIXED, [example(5, "Sing", "la la")], [MIXED[1]]]
    heard: list[int] = []
    outcomes = score_blocks(blocks, engine=FakeEngine(), spec=RunSpec(), on_rows=heard.append)
    assert list(outcomes) == [score(block) for block in blocks]
    assert heard == sorted(heard)
    assert heard[-1] == 7


def test_a_block_is_read_while_the_one_before_is_computed() -> None:
    read = [threading.Event(), threading.Event()]

    class Waiting(FakeEngine):
        def losses(self, spans: Sequence[Span], **listeners: Any) -> list[SpanLoss]:
            assert read[1].wait(10)
            return super().losses(spans, **listeners)

    def blocks() -> Iterator[list[Row]]:
        for row, done in enumerate(read):
            done.set()
            yield [example(row, "Sing", "la la")]

    outcomes = score_blocks(blocks(), engine=Waiting(), spec=RunSpec(), on_rows=lambda _: None)
    assert [block[0].row for block in outcomes] == [0, 1]


def test_a_block_that_cannot_be_read_ends_the_work_after_those_before_it() -> None:
    def blocks() -> Iterator[list[Row]]:
        yield [example(0, "Sing", "la la")]
        raise OSError("gone")

    outcomes = score_blocks(blocks(), engine=FakeEngine(), spec=RunSpec(), on_rows=lambda _: None)
    assert next(outcomes)[0].row == 0
    with pytest.raises(OSError, match="gone"):
        next(outcomes)
