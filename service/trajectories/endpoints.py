"""`/trajectories`: what a proxy's fine-tune says of every row, made by runs that need it and shared by them."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from service.auth import Owner
from service.events import STREAM_ANSWERS, LastEventId, stream_response, wants_stream
from service.openapi import streams
from service.pages import After, Limit, List
from service.resources import Gateway
from service.runs.results import MEDIA_TYPES
from service.trajectories.events import look
from service.trajectories.losses import require_losses, stream_losses
from service.trajectories.schemas import TrajectoryEventView, TrajectoryView
from winnow.scores import ScoreFormat
from winnow.store import trajectories
from winnow.store.session import Connection
from winnow.store.trajectories import Trajectory, TrajectoryStatus

router = APIRouter(prefix="/trajectories", tags=["trajectories"])


@router.get("", operation_id="list_trajectories")
def list_trajectories(  # one parameter an option
    gateway: Gateway,
    owner: Owner,
    dataset: Annotated[str | None, Query(description="Those of this dataset only.")] = None,
    status: Annotated[
        TrajectoryStatus | None, Query(description="Those in this state only.")
    ] = None,
    after: After = None,
    limit: Limit = 20,
) -> List[TrajectoryView]:
    """Your trajectories, the newest first."""
    with gateway.database.transaction() as connection:
        page = trajectories.list_trajectories(
            connection, owner=owner, after=after, limit=limit, dataset_id=dataset, status=status
        )
        views = [_view(connection, found) for found in page.items]
    return List(data=views, has_more=page.has_more)


@router.get("/{trajectory_id}", operation_id="get_trajectory")
def get(gateway: Gateway, owner: Owner, trajectory_id: str) -> TrajectoryView:
    """One trajectory: how far its training and evaluation are, and what it waits for."""
    with gateway.database.transaction() as connection:
        found = trajectories.get_trajectory(connection, owner=owner, trajectory_id=trajectory_id)
        return _view(connection, found)


@router.post("/{trajectory_id}/cancel", operation_id="cancel_trajectory")
def cancel(gateway: Gateway, owner: Owner, trajectory_id: str) -> TrajectoryView:
    """Stop a trajectory, and with it the runs that wait for it. Doing it twice changes nothing."""
    with gateway.database.transaction() as connection:
        found, wakeups = trajectories.cancel_trajectory(
            connection, owner=owner, trajectory_id=trajectory_id
        )
        view = _view(connection, found)
    gateway.publisher.publish(wakeups)
    return view


@router.delete("/{trajectory_id}", operation_id="delete_trajectory", status_code=204)
def delete(gateway: Gateway, owner: Owner, trajectory_id: str) -> None:
    """Take a trajectory away: its losses and the weights that were kept. Runs that have read it keep their scores.

    409 while a run that is not over uses it.
    """
    with gateway.database.transaction() as connection:
        wakeups = trajectories.delete_trajectory(
            connection, owner=owner, trajectory_id=trajectory_id
        )
    gateway.publisher.publish(wakeups)


@router.get(
    "/{trajectory_id}/events",
    operation_id="list_trajectory_events",
    response_model=List[TrajectoryEventView],
    responses=STREAM_ANSWERS,
)
def events(
    request: Request,
    gateway: Gateway,
    owner: Owner,
    trajectory_id: str,
    after: Annotated[int, Query(ge=0, description="Events after this number.")] = 0,
    last_event_id: LastEventId = None,
) -> List[TrajectoryEventView] | Response:
    """What happened to a trajectory. With `Accept: text/event-stream` as it happens, until it ends."""
    look_after = partial(look, gateway, owner, trajectory_id)
    view = TrajectoryEventView.of
    if wants_stream(request):
        return stream_response(look_after, view, after=after, last_event_id=last_event_id)
    page = look_after(last_event_id or after)
    return List(data=[view(event) for event in page.events], has_more=page.more)


@router.get(
    "/{trajectory_id}/losses",
    operation_id="get_losses",
    response_class=StreamingResponse,
    responses=streams(
        "The loss of every row at every checkpoint.",
        *(MEDIA_TYPES[name] for name in ("parquet", "jsonl", "csv")),
    ),
)
def losses(
    gateway: Gateway,
    owner: Owner,
    trajectory_id: str,
    format: Annotated[ScoreFormat, Query(description="Form of the file.")] = "parquet",  # noqa: A002
) -> Response:
    """Mean losses of every row in nats per token, a column for each checkpoint, or why the row has none.

    409 `trajectory_not_ready` with `Retry-After` until every checkpoint is evaluated.
    """
    with gateway.database.transaction() as connection:
        found = trajectories.get_trajectory(connection, owner=owner, trajectory_id=trajectory_id)
        kept = trajectories.load_checkpoints(connection, trajectory_id)
    require_losses(found)
    headers = {"Content-Disposition": f'attachment; filename="{found.id}-losses.{format}"'}
    lines = stream_losses(gateway.blobs, found, kept, format=format)
    return StreamingResponse(lines, media_type=MEDIA_TYPES[format], headers=headers)


def _view(connection: Connection, found: Trajectory) -> TrajectoryView:
    return TrajectoryView.of(
        found,
        checkpoints=trajectories.load_checkpoints(connection, found.id),
        waits_for=trajectories.waits_for(connection, found),
    )
