"""Whose a run, a fine-tune or a trajectory is.

The one check for what hangs on it and has no owner of its own, such as events.
"""

from __future__ import annotations

from sqlalchemy import Connection, select

from winnow.errors import NotFound
from winnow.store.tables import fine_tune, run, trajectory


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


def check_fine_tune(conn: Connection, *, owner: str, fine_tune_id: str) -> None:
    """Refuse a fine-tune that the owner does not have, and one that is the training of a trajectory.

    Raises:
        NotFound: the same for one of somebody else and for none at all.
    """
    visible = select(fine_tune.c.id).where(
        fine_tune.c.id == fine_tune_id,
        fine_tune.c.owner == owner,
        fine_tune.c.trajectory_id.is_(None),
    )
    if conn.scalar(visible) is None:
        raise NotFound(f"There is no fine-tuning job {fine_tune_id!r}.")


def check_trajectory(conn: Connection, *, owner: str, trajectory_id: str) -> None:
    """Refuse a trajectory that the owner does not have, or that goes away with its dataset.

    Raises:
        NotFound: the same for one of somebody else and for none at all.
    """
    visible = select(trajectory.c.id).where(
        trajectory.c.id == trajectory_id,
        trajectory.c.owner == owner,
        trajectory.c.deleted_at.is_(None),
    )
    if conn.scalar(visible) is None:
        raise NotFound(f"There is no trajectory {trajectory_id!r}.")
