"""A look at a trajectory and its next events: what its list and its stream of events are made of."""

from __future__ import annotations

from service.events import PAGE, Look, Progress
from service.resources import Resources
from service.trajectories.schemas import TrajectoryView
from winnow.store.events import list_events
from winnow.store.trajectories import Trajectory, get_trajectory


def look(resources: Resources, owner: str, trajectory_id: str, after: int) -> Look:
    """The trajectory, and its events after the number `after`.

    Raises:
        NotFound: the owner has no such trajectory.
    """
    with resources.database.transaction() as connection:
        # The trajectory first: an end that is seen here has its event, which is read next.
        found = get_trajectory(connection, owner=owner, trajectory_id=trajectory_id)
        events = list_events(
            connection, owner=owner, subject=trajectory_id, after_seq=after, limit=PAGE
        )
    return Look(events=events, active=found.active, progress=_progress(found))


def _progress(trajectory: Trajectory) -> Progress:
    step = 0 if trajectory.training is None else trajectory.training.step
    view = TrajectoryView.of(trajectory, checkpoints=())
    return Progress(
        done=trajectory.rows_done + step,
        body=view.model_dump_json(include={"status", "counts", "training"}),
    )
