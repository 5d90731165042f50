"""How far a command is: a bar with rate and time left on a terminal, a line now and then elsewhere; all on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

LINE_EVERY_S = 10.0
MINUTE_S = 60
HOUR_S = 3600

Advance = Callable[[int, int | None], None]
"""Hears how many rows are done in all, and of how many, None while that is not known."""


class Pace:
    """The rate since the first rows were done: what came before them, loading a model say, is not a rate."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._first: tuple[float, int] | None = None

    def words(self, done: int, total: int | None) -> str:
        """`84 rows/s, 2 min 05 s left`, as far as it can be known."""
        now = self._now()
        if self._first is None:
            self._first = (now, done) if done else None
            return ""
        since, before = self._first
        if done == before:
            return ""
        rate = (done - before) / (now - since)
        text = f"{rate:,.0f} rows/s" if rate >= 1 else f"{rate:.2f} rows/s"
        if total is not None and done < total:
            text += f", {duration((total - done) / rate)} left"
        return text


def row_progress(label: str) -> AbstractContextManager[Advance]:
    """Show the progress of `label` in rows while the context lasts."""
    return _bar(label) if sys.stderr.isatty() else _lines(label)


@contextmanager
def _bar(label: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    pace = Pace()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[words]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(label, total=None, words="")

        def advance(done: int, total: int | None) -> None:
            words = f"{_count(done, total)}  {pace.words(done, total)}"
            progress.update(task, completed=done, total=total, words=words)

        yield advance


@contextmanager
def _lines(label: str) -> Iterator[Advance]:
    pace = Pace()
    said = time.monotonic()

    def advance(done: int, total: int | None) -> None:
        nonlocal said
        words = pace.words(done, total)
        now = time.monotonic()
        if now - said >= LINE_EVERY_S:
            said = now
            print(f"{label}: {_count(done, total)} {words}", file=sys.stderr, flush=True)

    yield advance


def _count(done: int, total: int | None) -> str:
    return f"{done:,} rows" if total is None else f"{done:,} of {total:,} rows"


def duration(seconds: float) -> str:
    """Seconds for people: `7.3 s`, `2 min 05 s`, `1 h 20 min`."""
    if seconds < MINUTE_S:
        return f"{seconds:.1f} s"
    if seconds < HOUR_S:
        return f"{int(seconds // MINUTE_S)} min {int(seconds % MINUTE_S):02d} s"
    return f"{int(seconds // HOUR_S)} h {int(seconds % HOUR_S // MINUTE_S):02d} min"
