"""`/subsets`: what all of this is for.

A record comes out as it went in, formulas at the start of a CSV cell too: this is training data, not a spreadsheet,
unless it is asked for as one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from service.auth import Owner
from service.etags import NoneMatch, matches
from service.openapi import streams
from service.resources import Gateway
from service.runs.labelled import origin_of
from service.runs.results import MEDIA_TYPES, read_scores
from service.subsets import manifest
from service.subsets.choice import Choice, choose
from service.subsets.rows import select_rows
from service.subsets.schemas import Manifest, SelectionQuery, SubsetQuery
from winnow import __version__
from winnow.output import render_output
from winnow.records.render import SUBSET_FORMATS
from winnow.selection.ratio import Selected

router = APIRouter(prefix="/subsets", tags=["subsets"])

_ANSWERS = {
    **streams("The records.", *(MEDIA_TYPES[name] for name in SUBSET_FORMATS)),
    304: {"description": "The bytes are those of a tag in `If-None-Match`."},
}


@router.get("", operation_id="get_subset", response_class=StreamingResponse, responses=_ANSWERS)
@router.head(
    "", operation_id="head_subset", response_class=StreamingResponse, include_in_schema=False
)
def subset(
    request: Request,
    gateway: Gateway,
    owner: Owner,
    query: Annotated[SubsetQuery, Query()],
    if_none_match: NoneMatch = None,
) -> Response:
    """The part of a scored dataset worth training on: `/subsets?ratio=0.1`. The same request gives the same bytes.

    `Winnow-Rows` is how many rows were selected, `Winnow-Rows-Read` of how many, `Winnow-Run` from which run.
    409 `scores_not_ready` with `Retry-After` while the run works; 409 `selection_not_ready` until a worker has chosen
    the rows of strategy=facility_location, which the first request for them begins. Records come out as they went in:
    for a CSV that is opened with a spreadsheet, ask for `escape=spreadsheet`.
    """
    output = query.output()
    choice = choose(gateway, query, owner=owner)
    etag = choice.etag(**output.as_query())
    if matches(if_none_match, etag):
        return Response(status_code=304, headers=_cache(etag))
    columns = None if output.shows_scores else choice.selection.columns
    scores = read_scores(gateway.blobs, choice.run, columns=columns)
    selected = select_rows(gateway, choice, scores)
    records: Iterator[bytes] = iter(())
    if request.method == "GET":
        records = render_output(
            choice.blocks(gateway.blobs),
            selected.rows,
            output=output,
            scores=scores,
            origin=origin_of(choice.run),
        )
    headers = _headers(choice, selected, output.suffix) | _cache(etag)
    return StreamingResponse(records, media_type=MEDIA_TYPES[output.suffix], headers=headers)


@router.get(
    "/manifest",
    operation_id="get_manifest",
    response_model=Manifest,
    responses={304: {"description": "The manifest is that of a tag in `If-None-Match`."}},
)
def get_manifest(
    gateway: Gateway,
    owner: Owner,
    query: Annotated[SelectionQuery, Query()],
    response: Response,
    if_none_match: NoneMatch = None,
) -> Manifest | Response:
    """Where a subset comes from, which rule took how many rows, and how the selected rows differ from all.

    Made to be asked again and again while somebody looks for a ratio: what it needs of a run is remembered.
    """
    choice = choose(gateway, query, owner=owner)
    etag = choice.etag(manifest=__version__)
    if matches(if_none_match, etag):
        return Response(status_code=304, headers=_cache(etag))
    found = manifest.build(gateway, choice)
    if found.duplicates is not None:
        response.headers.update(_cache(etag))
    return found


def _cache(etag: str) -> dict[str, str]:
    """Private and checked each time: without `run` the same address means another run tomorrow."""
    return {"ETag": etag, "Cache-Control": "private, no-cache", "Vary": "Authorization"}


def _headers(choice: Choice, selected: Selected, suffix: str) -> dict[str, str]:
    return {
        "Winnow-Run": choice.run.id,
        "Winnow-Dataset": choice.dataset.id,
        "Winnow-Rows": str(len(selected.rows)),
        "Winnow-Rows-Read": str(selected.rows_read),
        "Content-Disposition": f'attachment; filename="{choice.run.id}-subset.{suffix}"',
    }
