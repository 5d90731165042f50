"""Items are made ahead, in order, and no further than asked."""

from __future__ import annotations

import threading

import pytest

from winnow.ahead import map_ahead


def test_items_come_in_order_and_only_so_many_are_made_ahead() -> None:
    made: list[int] = []

    def make(place: int) -> int:
        made.append(place)
        return place * place

    items = map_ahead(make, range(100), num_ahead=4)
    assert next(items) == 0
    assert len(made) <= 5
    assert list(items) == [place * place for place in range(1, 100)]


def test_an_error_comes_where_its_item_would_and_ends_the_threads() -> None:
    def make(place: int) -> int:
        if place == 2:
            raise OSError("away")
        return place

    items = map_ahead(make, range(10), num_ahead=3)
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(OSError, match="away"):
        next(items)
    assert not [one for one in threading.enumerate() if one.name.startswith("winnow-ahead")]


def test_nothing_is_made_of_nothing() -> None:
    assert list(map_ahead(lambda place: place, (), num_ahead=2)) == []
