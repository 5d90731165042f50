"""The database's clock in SQL: every comparison of times uses it, so workers may disagree about the hour."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Interval, func, literal

clock = func.clock_timestamp
"""The time now, not the time at which the transaction began."""


def seconds(duration_s: float) -> ColumnElement[timedelta]:
    """A duration as an SQL interval."""
    return literal(timedelta(seconds=duration_s), Interval)


def unix(moment: datetime | None) -> float | None:
    """A stored time as unix seconds."""
    return None if moment is None else moment.timestamp()
