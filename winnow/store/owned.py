"""Whose a run is: the one check for what hangs on a run and has no owner of its own, its events and scores."""

from __future__ import annotations

from sqlalchemy import Connection, select

from winnow.errors import NotFound
from winnow.store.tables import run


def check_run(conn: Connection, *, owner: str, run_id: str) -> None:
    """Refuse a run that the owner does not have, or has deleted.

    Raises:
        NotFound: the same for a run of somebody else and for none at all.
    """
    visible = select(run.c.id).where(
        run.c.id == run_id, run.c.owner == owner, run.c.deleted_at.is_(None)
    )
    if conn.scalar(visible) is None:
        raise NotFound(f"There is no run {run_id!r}.")
