"""`/runs`: what became of a `POST /score`."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from service.auth import Owner
from service.events import STREAM_ANSWERS, LastEventId, stream_response, wants_stream
from service.openapi import streams
from service.pages import After, Limit, List
from service.resources import Gateway
from service.runs.agreement import AgreementView, compare_runs
from service.runs.columns import dataset_sources, score_columns
from service.runs.events import look
from service.runs.histogram import histogram
from service.runs.labelled import ScoresQuery, stream_labelled
from service.runs.results import MEDIA_TYPES, refuse_dry_run, require_completed, stream_scores
from service.runs.schemas import EventView, Histogram, RunView, ScoreView
from winnow.scores import score_batch, score_records
from winnow.store import runs
from winnow.store.runs import RunStatus, waits_for
from winnow.store.scores import page_scores

router = APIRouter(prefix="/runs", tags=["runs"])


@router.get("", operation_id="list_runs")
def list_runs(
    gateway: Gateway,
    owner: Owner,
    dataset: Annotated[str | None, Query(description="Runs of this dataset only.")] = None,
    status: Annotated[RunStatus | None, Query(description="Runs in this state only.")] = None,
    dry_runs: Annotated[bool, Query(description="Whether dry runs are among them.")] = True,
    after: After = None,
    limit: Limit = 20,
) -> List[RunView]:
    """Your runs, the newest first."""
    with gateway.database.transaction() as connection:
        page = runs.list_runs(
            connection,
            owner=owner,
            after=after,
            limit=limit,
            dataset_id=dataset,
            status=status,
            dry_runs=dry_runs,
        )
        views = [RunView.of(run, waits_for=waits_for(connection, run)) for run in page.items]
    return List(data=views, has_more=page.has_more)


@router.get("/{run_id}", operation_id="get_run")
def get(gateway: Gateway, owner: Owner, run_id: str) -> RunView:
    """One run: its status, how far it is and when it will end, what it waits for, and its summary once it is there."""
    with gateway.database.transaction() as connection:
        run = runs.get_run(connection, owner=owner, run_id=run_id)
        return RunView.of(run, waits_for=waits_for(connection, run))


@router.delete("/{run_id}", operation_id="delete_run", status_code=204)
def delete(gateway: Gateway, owner: Owner, run_id: str) -> None:
    """Take a run away: it is cancelled if it works, and its scores are purged."""
    with gateway.database.transaction() as connection:
        wakeups = runs.delete_run(connection, owner=owner, run_id=run_id)
    gateway.publisher.publish(wakeups)


@router.post("/{run_id}/cancel", operation_id="cancel_run")
def cancel(gateway: Gateway, owner: Owner, run_id: str) -> RunView:
    """Stop a run; what it has scored so far stays readable. Doing it twice changes nothing.

    A trajectory that no other run needs is stopped with it.
    """
    with gateway.database.transaction() as connection:
        run, wakeups = runs.cancel_run(connection, owner=owner, run_id=run_id)
    gateway.publisher.publish(wakeups)
    return RunView.of(run)


@router.get(
    "/{run_id}/events",
    operation_id="list_events",
    response_model=List[EventView],
    responses=STREAM_ANSWERS,
)
def events(
    request: Request,
    gateway: Gateway,
    owner: Owner,
    run_id: str,
    after: Annotated[int, Query(ge=0, description="Events after this number.")] = 0,
    last_event_id: LastEventId = None,
) -> List[EventView] | Response:
    """What happened to a run. With `Accept: text/event-stream` as it happens, until the run ends."""
    look_after = partial(look, gateway, owner, run_id)
    if wants_stream(request):
        return stream_response(look_after, EventView.of, after=after, last_event_id=last_event_id)
    page = look_after(last_event_id or after)
    return List(data=[EventView.of(event) for event in page.events], has_more=page.more)


@router.get(
    "/{run_id}/scores",
    operation_id="get_scores",
    response_model=List[ScoreView],
    response_model_exclude_none=True,
    responses=streams(
        "A page, or with `format` every row.",
        *(MEDIA_TYPES[name] for name in ("jsonl", "json", "csv", "parquet")),
    ),
)
def scores(
    gateway: Gateway, owner: Owner, run_id: str, query: Annotated[ScoresQuery, Query()]
) -> List[ScoreView] | Response:
    """A line for every row, in order: its score, or why it has none. Page by page, or all of it with `format`."""
    output = query.output()
    with gateway.database.transaction() as connection:
        run = runs.get_run(connection, owner=owner, run_id=run_id)
        refuse_dry_run(run)
        page = page_scores(
            connection, owner=owner, run_id=run_id, after_row=query.after, limit=query.limit
        )
    if query.format is None:
        records = score_records(score_batch(page.items))
        return List(data=[ScoreView(**record) for record in records], has_more=page.has_more)
    require_completed(run)
    match query.format:
        case "label_studio" | "argilla":
            parts = stream_labelled(gateway.blobs, run, output, ratio=query.ratio)
        case scores_format:
            parts = stream_scores(gateway.blobs, run, format=scores_format)
    headers = {"Content-Disposition": f'attachment; filename="{run.id}-scores.{output.suffix}"'}
    return StreamingResponse(parts, media_type=MEDIA_TYPES[output.suffix], headers=headers)


@router.get("/{run_id}/agreement/{other_id}", operation_id="get_agreement")
def get_agreement(gateway: Gateway, owner: Owner, run_id: str, other_id: str) -> AgreementView:
    """How far two completed runs over one dataset rank its rows alike, beside what answer length explains."""
    return compare_runs(gateway, run_id, other_id, owner=owner)


@router.get("/{run_id}/histogram", operation_id="get_histogram")
def get_histogram(
    gateway: Gateway,
    owner: Owner,
    run_id: str,
    bins: Annotated[int, Query(ge=1, le=1000, description="How many bins.")] = 50,
    low: Annotated[
        float | None,
        Query(alias="min", allow_inf_nan=False, description="Default: the lowest score."),
    ] = None,
    high: Annotated[
        float | None,
        Query(alias="max", allow_inf_nan=False, description="Default: the 99th percentile."),
    ] = None,
    by: Annotated[
        Literal["source"] | None, Query(description="Count the rows of each source too.")
    ] = None,
) -> Histogram:
    """How the scores of a completed run are spread."""
    with gateway.database.transaction() as connection:
        run = runs.get_run(connection, owner=owner, run_id=run_id)
    require_completed(run)
    sources = None if by is None else dataset_sources(gateway, run.dataset_id)
    scores = score_columns(gateway, run)
    return histogram(run, scores, bins=bins, low=low, high=high, sources=sources)
