"""`/subsets`: what all of this is for.

A record comes out as it went in, formulas at the start of a CSV cell too: this is training data, not a spreadsheet.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from service.auth import Owner
from service.openapi import streams
from service.resources import Gateway
from service.runs.results import MEDIA_TYPES, read_scores
from service.subsets import manifest
from service.subsets.choice import Choice, choose
from service.subsets.rows import select_rows
from service.subsets.schemas import Manifest, SelectionQuery, SubsetQuery
from winnow.records.render import SUBSET_FORMATS, render
from winnow.scores import score_members
from winnow.selection.ratio import Selected

router = APIRouter(prefix="/subsets", tags=["subsets"])

NoneMatch = Annotated[
    str | None,
    Header(alias="If-None-Match", description="Tags of the bytes that are here already."),
]

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
    nothing is escaped in a CSV, so open it with a spreadsheet only if you trust its origin.
    """
    choice = choose(gateway, query, owner=owner)
    etag = choice.etag(format=query.format, include=query.include)
    if _matches(if_none_match, etag):
        return Response(status_code=304, headers=_cache(etag))
    columns = None if query.include else choice.selection.columns
    scores = read_scores(gateway.blobs, choice.run, columns=columns)
    selected = select_rows(gateway, choice, scores)
    records: Iterator[bytes] = iter(())
    if request.method == "GET":
        records = render(
            choice.blocks(gateway.blobs),
            selected.rows,
            format=query.format,
            scores=partial(score_members, scores) if query.include else None,
        )
    headers = _headers(choice, selected, query.format) | _cache(etag)
    return StreamingResponse(records, media_type=MEDIA_TYPES[query.format], headers=headers)


@router.get("/manifest", operation_id="get_manifest")
def get_manifest(
    gateway: Gateway, owner: Owner, query: Annotated[SelectionQuery, Query()]
) -> Manifest:
    """Where a subset comes from, which rule took how many rows, and how the selected rows differ from all."""
    return manifest.build(gateway, choose(gateway, query, owner=owner))


def _matches(if_none_match: str | None, etag: str) -> bool:
    """Whether a tag of the client is this one; a weak mark makes no difference here (RFC 9110, 13.1.2)."""
    tags = [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]
    return etag in tags or tags == ["*"]


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
