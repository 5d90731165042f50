"""What every engine promises, on both golden models: torch, vllm and vllm-server run these tests.

A subclass has two fixtures of the scope of a class: `engine`, of the model in `folder`, and `reference`, which gives
the losses of spans in another way. It is collected for its name; `EngineSuite` itself is not.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.golden.cases import check_rejections, check_scores, score_cases
from tests.proxy.folders import GOLDEN
from winnow.proxy.engine import Engine, Span, SpanLoss
from winnow.proxy.models import revision

ABS, REL = 2e-5, 1e-5
"""How far mean losses of the same span may lie apart in float32."""

POSITIONS = 128
VOCABULARY = 1024

Reference = Callable[[Sequence[Span]], list[SpanLoss]]


def spans(count: int = 60, longest: int = POSITIONS) -> list[Span]:
    """Random tokens, the same at every call."""
    draw = random.Random(1)  # noqa: S311
    made = []
    for _ in range(count):
        length = draw.randint(2, longest)
        tokens = [draw.randrange(VOCABULARY) for _ in range(length)]
        made.append(Span(tokens=tokens, start=draw.randrange(1, length)))
    return made


EDGES = (
    Span(tokens=[5] * POSITIONS, start=1),
    Span(tokens=list(range(POSITIONS)), start=POSITIONS - 1),
    Span(tokens=list(range(POSITIONS - 1)), start=POSITIONS - 2),
    Span(tokens=[1022, 1023], start=1),
)
"""Spans that fill the window, and spans of a single scored token."""


def losses(engine: Engine, of: Sequence[Span]) -> list[SpanLoss]:
    """The losses alone."""
    return engine.losses(of, on_batch=lambda _: None, on_replan=lambda _: None)


def agree(left: Sequence[SpanLoss], right: Sequence[SpanLoss]) -> bool:
    """Whether losses of the same spans are equal to the tolerance across batches and engines."""
    return [loss.num_tokens for loss in left] == [loss.num_tokens for loss in right] and [
        loss.mean for loss in left
    ] == pytest.approx([loss.mean for loss in right], abs=ABS, rel=REL)


class EngineSuite:
    """The common tests; see the module."""

    @pytest.fixture(scope="class", params=["tiny-gpt2", "tiny-gpt2-bos"])
    @classmethod
    def folder(cls, request: pytest.FixtureRequest) -> Path:
        return GOLDEN / str(request.param)

    def test_golden_cases_have_their_numbers_and_reasons(
        self, engine: Engine, folder: Path
    ) -> None:
        scored = score_cases(engine, folder.name)
        check_scores(scored)
        check_rejections(scored)

    def test_alone_together_and_in_another_order_a_span_has_the_same_loss(
        self, engine: Engine
    ) -> None:
        batch = [*spans(40), *EDGES]
        together = losses(engine, batch)
        assert agree([losses(engine, [span])[0] for span in batch], together)
        assert agree(losses(engine, batch[::-1])[::-1], together)

    def test_a_loss_is_that_of_the_reference(self, engine: Engine, reference: Reference) -> None:
        batch = [*spans(40), *EDGES]
        assert agree(losses(engine, batch), reference(batch))

    def test_the_same_spans_in_the_same_block_have_the_same_bits(self, engine: Engine) -> None:
        assert losses(engine, spans()) == losses(engine, spans())

    def test_the_window_is_the_models(self, engine: Engine, folder: Path) -> None:
        assert engine.window == POSITIONS
        assert engine.revision == revision(folder)

    @pytest.mark.parametrize(
        "span",
        [
            Span(tokens=[5] * (POSITIONS + 1), start=1),
            Span(tokens=[5, 6], start=0),
            Span(tokens=[5, 6], start=2),
            Span(tokens=[], start=1),
        ],
    )
    def test_a_span_beyond_the_window_or_without_a_scored_token_is_the_callers_error(
        self, engine: Engine, span: Span
    ) -> None:
        with pytest.raises(ValueError, match="span"):
            losses(engine, [*spans(3), span])
        assert len(losses(engine, spans(3))) == 3

    def test_no_spans_have_no_losses(self, engine: Engine) -> None:
        assert losses(engine, []) == []

    def test_progress_is_told_in_the_callers_thread_and_ends_at_all_spans(
        self, engine: Engine
    ) -> None:
        heard: list[tuple[int, threading.Thread]] = []
        engine.losses(
            spans(),
            on_batch=lambda done: heard.append((done, threading.current_thread())),
            on_replan=lambda _: None,
        )
        counts = [done for done, _ in heard]
        assert counts == sorted(set(counts))
        assert counts[-1] == 60
        assert len(counts) > 1
        assert {thread for _, thread in heard} == {threading.current_thread()}

    def test_what_progress_raises_stops_the_work_and_leaves_the_engine_usable(
        self, engine: Engine
    ) -> None:
        heard: list[int] = []

        def stop(done: int) -> None:
            heard.append(done)
            raise KeyboardInterrupt

        expected = losses(engine, spans(3))
        with pytest.raises(KeyboardInterrupt):
            engine.losses(spans(), on_batch=stop, on_replan=lambda _: None)
        assert len(heard) == 1
        assert agree(losses(engine, spans(3)), expected)
