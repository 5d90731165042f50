"""What happens to a run or a fine-tuning job as a stream (server-sent events).

The numbered rows of the database are the stream: `id:` is their number, and a client that comes back with
`Last-Event-ID` goes on where it was. Between two looks nothing is held: no connection, no thread. `progress` messages
have no id, for they are the subject as it is now, not something that happened. The stream ends after the event that
ends the subject, or after ten minutes, when a client reconnects by itself.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Annotated, Any

from anyio import sleep, to_thread
from fastapi import Header, Request, Response
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from pydantic import BaseModel

from winnow.errors import NotFound
from winnow.store.events import Event

POLL_S = 0.5
PING_S = 15.0
LIFE_S = 600.0
RETRY_MS = 1000
PAGE = 100

LastEventId = Annotated[int | None, Header(ge=0, description="Where a stream was left.")]

STREAM_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
    204: {"description": "The stream has ended; do not reconnect."},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A subject as it is now, as JSON; it is told again when `done` has changed."""

    done: int
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The next events of a subject, up to `PAGE`, and whether it may still change, as one transaction saw them."""

    events: list[Event]
    active: bool
    progress: Progress | None = None

    @property
    def more(self) -> bool:
        """Whether there may be further events right now."""
        return len(self.events) == PAGE

    @property
    def over(self) -> bool:
        """Whether nothing more can come: what has ended has no event after the one that ended it."""
        return not self.active and not self.more


LookAfter = Callable[[int], Look]
"""Looks at a subject: its events after a number. Raises NotFound once it is deleted."""


def wants_stream(request: Request) -> bool:
    """Whether a client asks for events as they happen."""
    return "text/event-stream" in request.headers.get("accept", "")


def stream_response(
    look: LookAfter, view: Callable[[Event], BaseModel], *, after: int, last_event_id: int | None
) -> Response:
    """The stream after a number; 204, which tells an EventSource not to come back, once all of it was seen.

    Raises:
        NotFound: the owner has no such subject.
    """
    first = look(last_event_id or after)
    if last_event_id and first.over and not first.events:
        return Response(status_code=204)
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return EventSourceResponse(_stream(look, view, last_event_id or after), headers=headers)


async def _stream(
    look: LookAfter, view: Callable[[Event], BaseModel], after: int
) -> AsyncIterator[bytes]:
    yield format_sse_event(retry=RETRY_MS)
    told = -1
    started = spoken = time.monotonic()
    while time.monotonic() - started < LIFE_S:
        try:
            now = await to_thread.run_sync(look, after)
        except NotFound:
            return  # deleted while we watched
        for event in now.events:
            body = view(event).model_dump_json()
            yield format_sse_event(data_str=body, event=event.type, id=str(event.seq))
            after = event.seq
        if now.progress is not None and now.progress.done != told:
            told, spoken = now.progress.done, time.monotonic()
            yield format_sse_event(data_str=now.progress.body, event="progress")
        if now.over:
            return
        if time.monotonic() - spoken > PING_S:
            spoken = time.monotonic()
            yield KEEPALIVE_COMMENT
        await sleep(POLL_S)
