"""Runs over a few records that somebody waits for: found again by what they score, so that asking twice makes one.

They are marked as samples, and so never are what a request means that names no run.
"""

from __future__ import annotations

from sqlalchemy import Connection, or_, select, true

from winnow.spec import RunSpec
from winnow.store.clock import clock, seconds
from winnow.store.progress import STOPPED
from winnow.store.runs import Run, load_run
from winnow.store.tables import dataset, run

FORMAT = "jsonl"
"""What the records are sent as."""

TRY_AGAIN_S = 60.0
"""A run that failed is the answer for so long; asked for later, another one takes its place."""


def find_small_run(
    conn: Connection, *, owner: str, sha256: str, spec: RunSpec, revision: str | None
) -> Run | None:
    """The owner's newest small run of this specification over these bytes.

    `revision`: of these model files, or bound to none yet; None takes any.
    """
    of_model = (
        true() if revision is None else or_(run.c.revision.is_(None), run.c.revision == revision)
    )
    found = conn.scalar(
        select(run.c.id)
        .join(dataset, dataset.c.id == run.c.dataset_id)
        .where(
            dataset.c.owner == owner,
            dataset.c.sha256 == sha256,
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
        )
        .order_by(run.c.created_at.desc(), run.c.id.desc())
        .limit(1)
    )
    return None if found is None else load_run(conn, found)
