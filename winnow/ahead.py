"""The next item is made while the one at hand is used: reading and encoding hide behind computing."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
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
