"""The next items are made while the one at hand is used: reading and encoding hide behind computing."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")


def one_ahead(items: Iterable[Item]) -> Generator[Item]:
    """The items in their order, each made in a thread while the one before it is used; close it to end the thread."""
    rest = iter(items)
    with ThreadPoolExecutor(1, "winnow-ahead") as thread:
        coming = thread.submit(next, rest, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, rest, None)
            yield item


def map_ahead(
    make: Callable[[int], Item], places: Iterable[int], *, num_ahead: int
) -> Generator[Item]:
    """`make` of each place in their order, up to `num_ahead` of them made in threads while the one before is used."""
    rest = iter(places)
    pool = ThreadPoolExecutor(num_ahead, "winnow-ahead")
    try:
        coming = deque(pool.submit(make, place) for place in islice(rest, num_ahead))
        while coming:
            item = coming.popleft().result()
            coming.extend(pool.submit(make, place) for place in islice(rest, 1))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)
