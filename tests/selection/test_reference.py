"""A subset named in one string."""

from __future__ import annotations

from decimal import Decimal

import pytest

from winnow.errors import InvalidOption
from winnow.selection.ratio import Selection
from winnow.selection.reference import SubsetReference


def test_a_reference_selects_what_the_same_options_select() -> None:
    text = "subset:run_abc?ratio=0.29&strategy=bottom&min_score=0.2&max_score=1&seed=7&order=score"
    reference = SubsetReference.parse(text)
    assert reference.run_id == "run_abc"
    assert reference.selection("ifd") == Selection.make(
        strategy="bottom", ratio=Decimal("0.29"), min_score=0.2, max_score=1, seed=7, order="score"
    )
    assert str(reference) == text


def test_a_reference_has_the_options_of_every_strategy() -> None:
    text = (
        "subset:run_abc?ratio=0.1&strategy=facility_location&pool_ratio=0.3&include_unlearned=true"
    )
    assert SubsetReference.parse(text).selection("learning_percentage") == Selection.make(
        method="learning_percentage",
        ratio="0.1",
        strategy="facility_location",
        pool_ratio="0.3",
        include_unlearned=True,
    )
    per_cluster = SubsetReference.parse("subset:run_abc?ratio=0.1&quota=per_cluster")
    assert per_cluster.selection("learning_percentage").quota == "per_cluster"


def test_what_is_left_out_takes_the_default_of_the_method() -> None:
    selection = SubsetReference.parse("subset:run_abc?count=12").selection("ifd")
    assert selection == Selection.make(method="ifd", count=12)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file-abc", "a subset as subset:RUN"),
        ("subset:", "a subset as subset:RUN"),
        ("subset:?ratio=0.1", "a subset as subset:RUN"),
        ("subset:run_abc?ratio=0.1&format=csv", "no option 'format'"),
        ("subset:run_abc?ratio=0.1&ratio=0.2", "ratio stands twice"),
    ],
)
def test_what_is_no_reference_is_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidOption, match=said) as refused:
        SubsetReference.parse(text)
    assert refused.value.param == "training_file"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("", "exactly one of ratio and count"),
        ("?ratio=0.1&count=3", "exactly one of ratio and count"),
        ("?ratio=2", "above 0 and at most 1"),
        ("?ratio=", "above 0 and at most 1"),
        ("?count=many", "count must be a number"),
        ("?ratio=0.1&strategy=best", "strategy must be one of"),
        ("?ratio=0.1&include_unlearned=1", "include_unlearned must be true or false"),
        ("?ratio=0.1&quota=per_cluster", "quota belongs to strategy=cluster_bottom"),
        ("?ratio=0.1&strategy=facility_location&pool_ratio=2", "pool_ratio must be above 0"),
        ("?ratio=0.1&min_score=nan", "finite"),
    ],
)
def test_values_that_select_nothing_sensible_are_refused(options: str, said: str) -> None:
    reference = SubsetReference.parse(f"subset:run_abc{options}")
    with pytest.raises(InvalidOption, match=said) as refused:
        reference.selection("ifd")
    assert refused.value.param == "training_file"
