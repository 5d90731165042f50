"""The events of a fine-tuning job: from the newest back for a list, from the oldest on for a stream."""

from __future__ import annotations

from service.events import PAGE, Look
from service.fine_tuning.schemas import event_prefix
from service.resources import Resources
from winnow.errors import NotFound
from winnow.store.events import list_events
from winnow.store.fine_tunes import get_fine_tune


def look(resources: Resources, owner: str, job_id: str, after: int) -> Look:
    """The job, and its events after the number `after`.

    Raises:
        NotFound: the owner has no such job.
    """
    with resources.database.transaction() as connection:
        # The job first: an end that is seen here has its event, which is read next.
        job = get_fine_tune(connection, owner=owner, fine_tune_id=job_id)
        events = list_events(connection, owner=owner, subject=job_id, after_seq=after, limit=PAGE)
    return Look(events=events, active=job.active)


def number_of(event_id: str, *, job_id: str) -> int:
    """The number of an event among those of its job, out of its id.

    Raises:
        NotFound: the id is not of an event of this job.
    """
    prefix = event_prefix(job_id)
    number = event_id.removeprefix(prefix)
    if not event_id.startswith(prefix) or not (number.isascii() and number.isdigit()):
        raise NotFound(f"The job {job_id} has no event {event_id!r}.", param="after")
    return int(number)
