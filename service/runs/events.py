"""A look at a run and its next events: what its list and its stream of events are made of."""

from __future__ import annotations

from service.events import PAGE, Look, Progress
from service.resources import Resources
from service.runs.schemas import RunView
from winnow.store.events import list_events
from winnow.store.runs import Run, get_run


def look(resources: Resources, owner: str, run_id: str, after: int) -> Look:
    """The run, and its events after the number `after`.

    Raises:
        NotFound: the owner has no such run.
    """
    with resources.database.transaction() as connection:
        # The run first: an end that is seen here has its event, which is read next.
        run = get_run(connection, owner=owner, run_id=run_id)
        events = list_events(connection, owner=owner, subject=run_id, after_seq=after, limit=PAGE)
    return Look(events=events, active=run.active, progress=_progress(run))


def _progress(run: Run) -> Progress:
    fields = {"status", "counts", "rows_per_s", "eta_s"}
    return Progress(done=run.rows_done, body=RunView.of(run).model_dump_json(include=fields))
