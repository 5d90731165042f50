"""Runs over a few records that somebody waits for: found again by what they score, so that asking twice makes one.

They are marked as samples, and so never are what a request means that names no run.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import ColumnElement, Connection, Text, any_, literal, or_, select, true
from sqlalchemy.dialects.postgresql import ARRAY

from winnow.spec import RunSpec
from winnow.store.clock import clock, seconds
from winnow.store.progress import STOPPED
from winnow.store.runs import Run, load_run
from winnow.store.tables import dataset, run

FORMAT = "jsonl"
"""What the records are sent as."""

TRY_AGAIN_S = 60.0
"""A run that failed is the answer for so long; asked for later, another one takes its place."""


NEWEST = 1_000
"""How many runs `newest_small_runs` gives at most."""


def find_small_run(
    conn: Connection, *, owner: str, sha256: str, spec: RunSpec, revision: str | None
) -> Run | None:
    """The owner's newest small run of this specification over these bytes.

    `revision`: of these model files, or bound to none yet; None takes any.
    """
    found = find_small_runs(conn, owner=owner, sha256s=[sha256], spec=spec, revision=revision)
    return load_run(conn, found[sha256]) if found else None


def find_small_runs(
    conn: Connection, *, owner: str, sha256s: Collection[str], spec: RunSpec, revision: str | None
) -> dict[str, str]:
    """The ids of such runs, by the bytes that they are over."""
    wanted = any_(literal(list(sha256s), ARRAY(Text)))
    newest_last = (
        select(dataset.c.sha256, run.c.id)
        .join(dataset, dataset.c.id == run.c.dataset_id)
        .where(*_usable(owner, spec, revision), dataset.c.sha256 == wanted)
        .order_by(run.c.created_at, run.c.id)
    )
    return {row.sha256: row.id for row in conn.execute(newest_last)}


def newest_small_runs(
    conn: Connection, *, owner: str, name: str, spec: RunSpec, revision: str | None
) -> list[tuple[str, str]]:
    """The ids of the owner's small runs of this name and specification and of their datasets, the newest first."""
    newest_first = (
        select(run.c.id, run.c.dataset_id)
        .join(dataset, dataset.c.id == run.c.dataset_id)
        .where(*_usable(owner, spec, revision), run.c.name == name)
        .order_by(run.c.created_at.desc(), run.c.id.desc())
        .limit(NEWEST)
    )
    return [(row.id, row.dataset_id) for row in conn.execute(newest_first)]


def _usable(owner: str, spec: RunSpec, revision: str | None) -> list[ColumnElement[bool]]:
    """Small runs that did not fail, or just now."""
    of_model = (
        true() if revision is None else or_(run.c.revision.is_(None), run.c.revision == revision)
    )
    return [
        dataset.c.owner == owner,
        dataset.c.requested_format == FORMAT,
        dataset.c.deleted_at.is_(None),
        run.c.deleted_at.is_(None),
        run.c.is_sample,
        run.c.spec == spec.as_dict(),
        of_model,
        or_(
            run.c.status.not_in(STOPPED),
            run.c.finished_at > clock() - seconds(TRY_AGAIN_S),
        ),
    ]
