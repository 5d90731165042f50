"""What the gateway remembers: no more than it may, made once for all who ask at once, and never a failure."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

from service.kept import ENTRY_BYTES, MAX_BYTES, Kept


def test_what_nobody_has_asked_for_longest_gives_way() -> None:
    kept = Kept(max_bytes=3 * (100 + ENTRY_BYTES))
    made: list[str] = []

    def get(name: str, num_bytes: int = 100) -> None:
        kept.get((name,), lambda: made.append(name) or np.zeros(num_bytes, np.uint8))  # type: ignore[func-returns-value]

    for name in ("a", "b", "c", "a", "d", "a", "b"):
        get(name)
    assert made == ["a", "b", "c", "d", "b"]
    for name in ("large", "large", "a", "larger", "large"):
        get(name, 100 if name == "a" else 301 + 2 * ENTRY_BYTES)
    assert made[5:] == ["large", "larger", "large"]
    for name in "0123":
        get(name, num_bytes=0)
    get("a")
    assert made[-1] == "a"


@pytest.mark.parametrize("max_bytes", [MAX_BYTES, 1])
def test_several_that_ask_at_once_get_the_same_value(max_bytes: int) -> None:
    kept, asked, made = Kept(max_bytes), threading.Barrier(8), []

    def make() -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        made.append(1)
        time.sleep(0.05)
        return np.zeros(3)

    def ask(_: int) -> int:
        asked.wait()
        return id(kept.get(("a",), make))

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(ask, range(8)))) == 1
    assert made == [1]
    assert not kept._making


def test_what_could_not_be_made_is_tried_again() -> None:
    kept = Kept()

    def fail() -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        raise FileNotFoundError

    with pytest.raises(FileNotFoundError):
        kept.get(("a",), fail)
    assert len(kept.get(("a",), lambda: np.zeros(3))) == 3


def test_who_asks_for_what_takes_long_goes_on_without_it() -> None:
    kept, go_on = Kept(), threading.Event()
    made: list[str] = []

    def make(name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        assert go_on.wait(30)
        made.append(name)
        return np.zeros(3)

    for name in ("a", "a", "b"):
        assert kept.get_soon((name,), partial(make, name), within_s=0) is None
    assert len(kept.get(("c",), lambda: np.zeros(2))) == 2
    go_on.set()
    for name in ("a", "b"):
        assert kept.get_soon((name,), partial(make, name), within_s=30) is not None
    assert made == ["a", "b"]
