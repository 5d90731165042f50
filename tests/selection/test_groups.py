"""How many rows each group gives."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from winnow.selection.groups import (
    equal_shares,
    largest_remainder,
    length_labels,
    members,
    source_labels,
)


@given(sizes=st.lists(st.integers(1, 50), min_size=1, max_size=20), k=st.integers(0, 400))
def test_quotas_add_up_and_stay_within_one_of_their_share(sizes: list[int], k: int) -> None:
    quotas = largest_remainder(sizes, k)
    wanted = min(k, sum(sizes))
    assert sum(quotas) == wanted
    for size, quota in zip(sizes, quotas, strict=True):
        assert 0 <= quota <= size
        assert abs(quota - wanted * size / sum(sizes)) < 1


def test_ties_of_remainders_go_to_the_first_clusters() -> None:
    assert largest_remainder([5, 5, 5, 5], 6) == [2, 2, 1, 1]


@given(sizes=st.lists(st.integers(1, 50), min_size=1, max_size=20), k=st.integers(0, 400))
def test_equal_shares_differ_by_one_at_most_unless_a_group_is_exhausted(
    sizes: list[int], k: int
) -> None:
    shares = equal_shares(sizes, k)
    assert sum(shares) == min(k, sum(sizes))
    most = max(shares)
    for size, share in zip(sizes, shares, strict=True):
        assert share == size or share >= most - len(sizes)
        assert share <= size


def test_sources_are_grouped_by_name_and_rows_without_one_come_last() -> None:
    sources = pa.chunked_array([["web", None], ["book", "web", None]])
    assert source_labels(sources).tolist() == [1, 2, 0, 1, 2]


def test_lengths_fall_into_tenths_of_the_rows() -> None:
    tokens = np.arange(100, dtype=np.float64)[::-1].copy()
    labels = length_labels(tokens)
    assert [len(group) for group in members(labels)] == [10] * 10
    assert labels[0] == 9
    assert labels[-1] == 0


def test_rows_of_equal_length_are_one_stratum() -> None:
    assert len(members(length_labels(np.full(50, 7.0)))) == 1
