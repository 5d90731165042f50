"""`/runs/{id}/...` as people look at a completed run: its rows, its figures, and a report to send around."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import HTMLResponse

from service.auth import Owner
from service.openapi import streams
from service.resources import Gateway, Resources
from service.runs import clusters, points, report, rows, sources
from service.runs.clusters import ClusterList
from service.runs.columns import Column
from service.runs.points import MAX_POINTS, Points
from service.runs.results import require_completed
from service.runs.row import RowDetail, read_row
from service.runs.rows import RowPage, RowQuery
from service.runs.sources import SourceList
from winnow.store.runs import Run, get_run

router = APIRouter(prefix="/runs", tags=["runs"])


@router.get("/{run_id}/rows", operation_id="list_rows")
def list_rows(
    gateway: Gateway, owner: Owner, run_id: str, query: Annotated[RowQuery, Query()]
) -> RowPage:
    """The rows of a completed run, the highest score first: sorted by any number, filtered, searched, page by page.

    With `near` a page lies either side of a score: the rows that a threshold only just keeps, and those that it only
    just leaves.
    """
    return rows.page(gateway, _completed(gateway, owner, run_id), query)


@router.get("/{run_id}/rows/{row}", operation_id="get_row")
def get_row(
    gateway: Gateway, owner: Owner, run_id: str, row: Annotated[int, Path(ge=0, lt=2**53)]
) -> RowDetail:
    """One row, whole: the record as it came in, what was read from it, its scores or why it has none."""
    return read_row(gateway, owner, run_id, row)


@router.get("/{run_id}/points", operation_id="get_points")
def get_points(  # one parameter an option
    gateway: Gateway,
    owner: Owner,
    run_id: str,
    x: Annotated[Column, Query(description="Across.")] = "tokens_conditioned",
    y: Annotated[Column, Query(description="Up.")] = "score",
    limit: Annotated[int, Query(ge=1, le=MAX_POINTS, description="Points at most.")] = 2000,
    seed: Annotated[int, Query(ge=0, lt=2**63, description="Seed of the draw.")] = 42,
) -> Points:
    """A sample of the scored rows, one number of theirs against another. The same seed draws the same rows."""
    run = _completed(gateway, owner, run_id)
    return points.draw(gateway, run, x=x, y=y, limit=limit, seed=seed)


@router.get("/{run_id}/sources", operation_id="list_sources")
def list_sources(gateway: Gateway, owner: Owner, run_id: str) -> SourceList:
    """What each source of the dataset scored, the largest first."""
    return sources.compare(gateway, _completed(gateway, owner, run_id))


@router.get("/{run_id}/clusters", operation_id="list_clusters")
def list_clusters(gateway: Gateway, owner: Owner, run_id: str) -> ClusterList:
    """The clusters of a run that has some, the largest first; of s2l with the mean losses that each was made of."""
    return clusters.describe(gateway, _completed(gateway, owner, run_id))


@router.get(
    "/{run_id}/report",
    operation_id="get_report",
    response_class=HTMLResponse,
    responses=streams("One file of HTML, with nothing from elsewhere.", "text/html"),
)
def get_report(gateway: Gateway, owner: Owner, run_id: str) -> Response:
    """A completed run as one HTML file to send around: where it comes from, figures, rows, and how to repeat it."""
    return report.response(gateway, _completed(gateway, owner, run_id))


def _completed(resources: Resources, owner: str, run_id: str) -> Run:
    with resources.database.transaction() as connection:
        run = get_run(connection, owner=owner, run_id=run_id)
    require_completed(run)
    return run
