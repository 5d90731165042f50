"""The events of a run as a stream (server-sent events).

The numbered rows of the database are the stream: `id:` is their number, and a client that comes back with
`Last-Event-ID` goes on where it was. Between two looks nothing is held: no connection, no thread. `progress` messages
have no id, for they are the run as it is now, not something that happened. The stream ends after the event that ends
the run, or after ten minutes, when a client reconnects by itself.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial

from anyio import sleep, to_thread
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from service.resources import Resources
from service.runs.schemas import EventView, RunView
from winnow.errors import NotFound
from winnow.store.events import Event, list_events
from winnow.store.runs import Run, get_run

POLL_S = 0.5
PING_S = 15.0
LIFE_S = 600.0
RETRY_MS = 1000
PAGE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A run and its next events, as one transaction saw them."""

    run: Run
    events: list[Event]

    @property
    def more(self) -> bool:
        """Whether there may be further events right now."""
        return len(self.events) == PAGE

    @property
    def over(self) -> bool:
        """Whether nothing more can come: an ended run has no event after the one that ended it."""
        return not self.run.active and not self.more


def look(resources: Resources, *, owner: str, run_id: str, after: int) -> Look:
    """The run, and its events after the number `after`.

    Raises:
        NotFound: the owner has no such run.
    """
    with resources.database.transaction() as connection:
        # The run first: an end that is seen here has its event, which is read next.
        run = get_run(connection, owner=owner, run_id=run_id)
        events = list_events(connection, owner=owner, subject=run_id, after_seq=after, limit=PAGE)
    return Look(run=run, events=events)


async def stream(
    resources: Resources, *, owner: str, run_id: str, after: int
) -> AsyncIterator[bytes]:
    """The events after the number `after` as they happen, then the end."""
    yield format_sse_event(retry=RETRY_MS)
    rows_told = -1
    started = spoken = time.monotonic()
    while time.monotonic() - started < LIFE_S:
        try:
            now = await to_thread.run_sync(
                partial(look, resources, owner=owner, run_id=run_id, after=after)
            )
        except NotFound:
            return  # deleted while we watched
        for event in now.events:
            yield _event(event)
            after = event.seq
        if now.run.rows_done != rows_told:
            rows_told, spoken = now.run.rows_done, time.monotonic()
            yield _progress(now.run)
        if now.over:
            return
        if time.monotonic() - spoken > PING_S:
            spoken = time.monotonic()
            yield KEEPALIVE_COMMENT
        await sleep(POLL_S)


def _event(event: Event) -> bytes:
    body = EventView.of(event).model_dump_json()
    return format_sse_event(data_str=body, event=event.type, id=str(event.seq))


def _progress(run: Run) -> bytes:
    fields = {"status", "counts", "rows_per_s", "eta_s"}
    body = RunView.of(run).model_dump_json(include=fields)
    return format_sse_event(data_str=body, event="progress")
