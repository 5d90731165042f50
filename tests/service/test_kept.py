"""What the gateway remembers: no more than it may, made once for all who ask at once, and never a failure."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from service.kept import ENTRY_BYTES, Kept


def test_what_nobody_has_asked_for_longest_gives_way() -> None:
    kept = Kept(max_bytes=3 * (100 + ENTRY_BYTES))
    made: list[str] = []

    def get(name: str, num_bytes: int = 100) -> None:
        kept.get((name,), lambda: made.append(name) or np.zeros(num_bytes, np.uint8))  # type: ignore[func-returns-value]

    for name in ("a", "b", "c", "a", "d", "a", "b"):
        get(name)
    assert made == ["a", "b", "c", "d", "b"]
    get("large", 301 + 2 * ENTRY_BYTES)
    get("large", 301 + 2 * ENTRY_BYTES)
    get("a")
    assert made[5:] == ["large", "large"]
    for name in "0123":
        get(name, num_bytes=0)
    get("a")
    assert made[-1] == "a"


def test_several_that_ask_at_once_get_the_same_value() -> None:
    kept, asked, made = Kept(), threading.Barrier(8), []

    def make() -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        made.append(1)
        return np.zeros(3)

    def ask(_: int) -> int:
        asked.wait()
        return id(kept.get(("a",), make))

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(ask, range(8)))) == 1
    assert made == [1]


def test_what_could_not_be_made_is_tried_again() -> None:
    kept = Kept()

    def fail() -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        raise FileNotFoundError

    with pytest.raises(FileNotFoundError):
        kept.get(("a",), fail)
    assert len(kept.get(("a",), lambda: np.zeros(3))) == 3
