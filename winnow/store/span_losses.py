"""The cache of span losses: what runs of an owner have computed, for the owner's later runs.

A run uses what had been committed when it was made, decided by transaction numbers and not by the clock, so that
neither units of its own nor runs beside it change which of its spans are computed together. Keys are written in
their order, hence two workers that store the same spans wait for each other, but not in a circle.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, text

from winnow.proxy.engine import SpanLoss

# Keys travel as one value: an array of them costs ten times as much on its way. LATERAL ... LIMIT makes the planner
# look up key by key; without it, and before the table is analysed, it reads all that the owner has.
_FIND = text("""
    SELECT asked.key, known.nll, known.num_tokens, known.used_on < CURRENT_DATE AS stale
    FROM (SELECT substring(:keys FROM 16 * at - 15 FOR 16) AS key
          FROM generate_series(1, :num_keys) AS at) AS asked
    CROSS JOIN LATERAL (
        SELECT * FROM span_loss WHERE owner = :owner AND key = asked.key LIMIT 1) AS known
    WHERE pg_visible_in_snapshot(CAST(CAST(known.stored_by AS text) AS xid8), CAST(:snapshot AS pg_snapshot))
""")

_STORE = text("""
    INSERT INTO span_loss (owner, key, nll, num_tokens, stored_by)
    SELECT :owner, substring(:keys FROM 16 * CAST(at AS integer) - 15 FOR 16), nll, num_tokens,
           CAST(CAST(pg_current_xact_id() AS text) AS bigint)
    FROM unnest(CAST(:nll AS double precision[]), CAST(:num_tokens AS integer[]))
         WITH ORDINALITY AS new (nll, num_tokens, at)
    ON CONFLICT (owner, key) DO NOTHING
""")

_TOUCH = text("""
    UPDATE span_loss SET used_on = CURRENT_DATE
    WHERE owner = :owner AND key IN (
        SELECT known.key
        FROM (SELECT substring(:keys FROM 16 * at - 15 FOR 16) AS key
              FROM generate_series(1, :num_keys) AS at) AS asked
        CROSS JOIN LATERAL (
            SELECT key FROM span_loss WHERE owner = :owner AND key = asked.key
            FOR UPDATE SKIP LOCKED) AS known)
""")

_FORGET = text("""
    DELETE FROM span_loss WHERE (owner, key) IN (
        SELECT owner, key FROM span_loss WHERE used_on < CURRENT_DATE - CAST(:days AS integer)
        LIMIT :batch FOR UPDATE SKIP LOCKED)
""")

FORGET_BATCH = 5_000
"""Entries that one sweep forgets at most, so that it ends in well under a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownLoss:
    """A loss from the cache; `stale`: nobody has used it today."""

    loss: SpanLoss
    stale: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheUse:
    """What a unit of work has for the cache, the keys of stale losses that it used, and how many rows it owes to it."""

    computed: Mapping[bytes, SpanLoss] = field(default_factory=dict)
    stale: Collection[bytes] = ()
    num_rows_found: int = 0


NO_CACHE = CacheUse()
"""Of a unit whose run uses no cache."""


def find_losses(
    conn: Connection, *, owner: str, keys: Sequence[bytes], snapshot: str
) -> dict[bytes, KnownLoss]:
    """The losses under these keys that were there at the `cache_snapshot` of a run."""
    rows = conn.execute(_FIND, _asked(owner, keys) | {"snapshot": snapshot})
    return {
        row.key: KnownLoss(loss=SpanLoss(nll=row.nll, num_tokens=row.num_tokens), stale=row.stale)
        for row in rows
    }


def keep_losses(conn: Connection, *, owner: str, use: CacheUse) -> None:
    """Store what was computed, and note the use of what was found. What another unit has stored meanwhile stands."""
    if use.computed:
        keys = sorted(use.computed)
        losses = [use.computed[key] for key in keys]
        columns = {
            "nll": [loss.nll for loss in losses],
            "num_tokens": [loss.num_tokens for loss in losses],
        }
        conn.execute(_STORE, _asked(owner, keys) | columns)
    if use.stale:
        conn.execute(_TOUCH, _asked(owner, use.stale))


def forget_losses(conn: Connection, *, days: int) -> int:
    """Remove some of the losses that nobody has used for more than `days` days; returns how many."""
    return conn.execute(_FORGET, {"days": days, "batch": FORGET_BATCH}).rowcount


def _asked(owner: str, keys: Collection[bytes]) -> dict[str, object]:
    return {"owner": owner, "keys": b"".join(keys), "num_keys": len(keys)}
