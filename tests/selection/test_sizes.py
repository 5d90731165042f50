"""How much work a request may ask of a worker."""

from __future__ import annotations

from typing import Any

import pytest

from winnow.errors import InvalidOption
from winnow.selection.request import MAX_POOL, Selection, check_size
from winnow.spec import MAX_CLUSTERS, RunSpec

REPRESENTATIVES: dict[str, Any] = {"strategy": "facility_location"}


@pytest.mark.parametrize(
    ("options", "rows", "param"),
    [
        ({"ratio": "0.1"}, 250_005, "pool_ratio"),
        ({"ratio": "0.1", "pool_ratio": "0.5"}, 100_002, "pool_ratio"),
        ({"ratio": "0.6", "pool_ratio": "0.1"}, 100_000, "ratio"),
        ({"count": MAX_POOL + 1}, 1_000_000, "count"),
    ],
)
def test_more_rows_than_can_be_compared_are_refused(
    options: dict[str, Any], rows: int, param: str
) -> None:
    selection = Selection.make(**REPRESENTATIVES, **options)
    with pytest.raises(InvalidOption, match="at most 50,000") as refused:
        check_size(selection, rows)
    assert refused.value.param == param


def test_the_pool_ratio_that_is_proposed_is_taken() -> None:
    rows = 1_234_567
    with pytest.raises(InvalidOption) as refused:
        check_size(Selection.make(**REPRESENTATIVES, ratio="0.01"), rows)
    proposed = refused.value.message.rpartition(" to ")[2].rstrip(".")
    assert proposed == "0.040"
    check_size(Selection.make(**REPRESENTATIVES, ratio="0.01", pool_ratio=proposed), rows)


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        (REPRESENTATIVES | {"ratio": "0.1"}, 250_000),
        (REPRESENTATIVES | {"count": 10**9}, 1000),
        ({"ratio": "0.5"}, 10**9),
        ({"ratio": "0.5", "strategy": "cluster_balanced"}, 10**9),
    ],
)
def test_others_are_not(options: dict[str, Any], rows: int) -> None:
    check_size(Selection.make(**options), rows)


def test_more_clusters_than_k_means_finds_in_time_are_refused() -> None:
    RunSpec.make(method="s2l", num_clusters=MAX_CLUSTERS)
    with pytest.raises(InvalidOption, match="1 to 5000") as refused:
        RunSpec.make(method="s2l", num_clusters=MAX_CLUSTERS + 1)
    assert refused.value.param == "num_clusters"
