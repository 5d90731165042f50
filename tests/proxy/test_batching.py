"""The batch plan is a pure function of lengths and budget."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from winnow.proxy.batching import plan

LENGTHS = st.lists(st.integers(1, 300), max_size=80)
BUDGETS = st.integers(1, 1000)


@given(LENGTHS, BUDGETS)
def test_every_span_is_in_exactly_one_batch(lengths: list[int], budget: int) -> None:
    batches = plan(lengths, token_budget=budget)
    assert sorted(at for batch in batches for at in batch) == list(range(len(lengths)))


@given(LENGTHS, BUDGETS)
def test_a_padded_batch_keeps_to_the_budget_unless_a_span_alone_exceeds_it(
    lengths: list[int], budget: int
) -> None:
    for batch in plan(lengths, token_budget=budget):
        longest = max(lengths[at] for at in batch)
        assert longest * len(batch) <= budget or len(batch) == 1


@given(LENGTHS, BUDGETS)
def test_the_longest_come_first_and_ties_keep_their_order(lengths: list[int], budget: int) -> None:
    order = [at for batch in plan(lengths, token_budget=budget) for at in batch]
    assert order == sorted(order, key=lambda at: (-lengths[at], at))


@given(LENGTHS, BUDGETS, st.randoms(use_true_random=False))
def test_the_shapes_of_batches_do_not_depend_on_the_order_of_spans(
    lengths: list[int], budget: int, random: object
) -> None:
    shuffled = list(lengths)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    def shapes(of: list[int]) -> list[list[int]]:
        return [[of[at] for at in batch] for batch in plan(of, token_budget=budget)]

    assert shapes(shuffled) == shapes(lengths)


def test_a_short_span_joins_a_batch_that_is_hardly_filled_and_no_other() -> None:
    assert plan([10, 9, 8, 2], token_budget=40) == [[0, 1], [2, 3]]
    assert plan([10, 9, 8, 2], token_budget=100) == [[0, 1, 2], [3]]
    assert plan([10, 9, 8, 2], token_budget=200) == [[0, 1, 2, 3]]


def test_a_batch_is_filled_before_the_next_is_begun() -> None:
    assert plan([10, 10, 10, 10, 5], token_budget=20) == [[0, 1], [2, 3], [4]]
