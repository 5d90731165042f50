"""The rows of a completed run as a table: sorted by a number, filtered, searched, a page at a time.

A page is found among the numbers of all rows, which are remembered; of the records only the blocks that hold a row of
the page are read. Its place in the table is a row's number, since what a completed run says of a row never changes.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from service.pages import List
from service.resources import Resources
from service.runs.columns import Column, dataset_sources, numbers, records_of, score_columns
from service.runs.order import Bools, Keys, Places, ahead, behind, first, last, sort_keys
from service.runs.results import read_details
from service.runs.schemas import ScoreView
from service.runs.search import search
from winnow.errors import InvalidOption
from winnow.labelling.excerpt import EXCERPT_CHARS, Excerpt
from winnow.records.blocks import Rows
from winnow.records.example import Example, Flag, RejectionReason
from winnow.scores import FLAG_BITS, ScoreTable, score_records
from winnow.store.runs import Run


class RowQuery(BaseModel):
    """Which rows, in which order, and which page of them."""

    model_config = ConfigDict(extra="forbid")

    sort: Column = Field("score", description="The number to sort by; rows without it come last.")
    order: Literal["asc", "desc"] = Field("desc", description="Equal rows stay in their order.")
    q: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="Rows in one of whose turns this text stands, in capitals or not. So many rows are searched as "
        "`searched` says, beginning with `first_row`: give first_row + searched as `first_row` to search on.",
    )
    first_row: int = Field(0, ge=0, lt=2**53, description="Rows with this number and higher ones.")
    status: Literal["scored", "rejected"] | None = None
    source: str | None = Field(
        None, description="Rows of this source; empty: those that name none."
    )
    reason: RejectionReason | None = Field(None, description="Rows that were rejected for it.")
    flag: Flag | None = Field(None, description="Rows that carry it.")
    cluster: int | None = Field(None, ge=0, lt=2**31, description="Rows of this cluster.")
    min_score: float | None = Field(None, allow_inf_nan=False)
    max_score: float | None = Field(None, allow_inf_nan=False)
    after: int | None = Field(
        None, ge=0, lt=2**53, description="`next` of a page: the page that follows it."
    )
    before: int | None = Field(
        None, ge=0, lt=2**53, description="`previous` of a page: the page in front of it."
    )
    near: float | None = Field(
        None,
        allow_inf_nan=False,
        description="A score, a manifest's `threshold` say: half a page on either side of it. Only with sort=score.",
    )
    limit: int = Field(50, ge=1, le=100, description="Rows of a page.")

    def check(self, *, num_rows: int) -> None:
        """Raises InvalidOption where options contradict each other, or a page is to follow a row beyond the last."""
        places = {name: getattr(self, name) for name in ("after", "before", "near")}
        given = [name for name, place in places.items() if place is not None]
        if len(given) > 1:
            raise InvalidOption(f"Give one of {' and '.join(given)}.", param=given[1])
        if self.near is not None and self.sort != "score":
            raise InvalidOption("near is a score: use it with sort=score.", param="near")
        for name in ("after", "before"):
            if places[name] is not None and places[name] >= num_rows:
                raise InvalidOption(
                    f"The run has no row {places[name]}; give `next` or `previous` of a page.",
                    param=name,
                )


class RowView(ScoreView):
    """A row: what it scored, and what was read from it. Losses are nats per token.

    `prompt` and `answer` are cut after 2,000 characters; `prompt_chars` and `answer_chars` count all of them. A row
    from which neither could be read has the beginning of its `record` instead.
    """

    source: str | None = None
    id: str | None = None
    prompt: str | None = None
    answer: str | None = None
    prompt_chars: int | None = None
    answer_chars: int | None = None
    record: str | None = None


class RowPage(List[RowView]):
    """A page of rows. `next` and `previous` are null at the ends; `total` counts the rows of all pages.

    `searched` is how many rows a search has looked at, null without one: fewer than all if there is much text.
    """

    next: int | None
    previous: int | None
    total: int
    searched: int | None


def page(resources: Resources, run: Run, query: RowQuery) -> RowPage:
    """The page of a completed run that a query asks for.

    Raises:
        InvalidOption: the query contradicts itself, or goes on from a row that the run does not have.
    """
    scores = score_columns(resources, run)
    query.check(num_rows=len(scores))
    wanted = _filtered(resources, run, scores, query)
    searched = None
    if query.q is not None:
        found = search(resources, run.dataset_id, query.q, first_row=query.first_row)
        searched = len(found)
        wanted[query.first_row : query.first_row + searched] &= found
        wanted[query.first_row + searched :] = False
    keys = sort_keys(numbers(scores, query.sort), query.order)
    rows = _rows_of_page(keys, wanted, query)
    more = len(rows) > 0 and bool((wanted & behind(keys, int(rows[-1]))).any())
    earlier = len(rows) > 0 and bool((wanted & ahead(keys, int(rows[0]))).any())
    return RowPage(
        data=views(resources, run, scores, rows),
        has_more=more,
        next=int(rows[-1]) if more else None,
        previous=int(rows[0]) if earlier else None,
        total=int(np.count_nonzero(wanted)),
        searched=searched,
    )


def _filtered(resources: Resources, run: Run, scores: ScoreTable, query: RowQuery) -> Bools:
    wanted = np.arange(len(scores)) >= query.first_row
    if query.status is not None:
        wanted &= np.isnan(scores.score) == (query.status == "rejected")
    if query.reason is not None:
        same = pc.equal(scores.table.column("reason"), query.reason.value)
        wanted &= pc.fill_null(same, fill_value=False).to_numpy()
    if query.flag is not None:
        wanted &= (scores.flags & FLAG_BITS[query.flag]) != 0
    if query.cluster is not None:
        wanted &= scores.labels("cluster") == query.cluster
    if query.min_score is not None:
        wanted &= scores.score >= query.min_score
    if query.max_score is not None:
        wanted &= scores.score <= query.max_score
    if query.source is not None:
        sources = dataset_sources(resources, run.dataset_id)
        wanted &= sources.codes == sources.code(query.source)
    return wanted


def _rows_of_page(keys: Keys, wanted: Bools, query: RowQuery) -> Places:
    if query.after is not None:
        return first(keys, wanted & behind(keys, query.after), query.limit)
    if query.before is not None:
        return last(keys, wanted & ahead(keys, query.before), query.limit)
    if query.near is not None:
        border = query.near if query.order == "asc" else -query.near
        half = last(keys, wanted & (keys <= border), query.limit // 2)
        return np.concatenate(
            [half, first(keys, wanted & (keys > border), query.limit - len(half))]
        )
    return first(keys, wanted, query.limit)


def views(resources: Resources, run: Run, scores: ScoreTable, rows: Rows) -> list[RowView]:
    """These rows of a completed run, in the order given."""
    rejected = np.sort(rows[np.isnan(scores.score[rows])])
    details = read_details(resources.blobs, run, rejected)
    table = scores.take(rows)
    told = pa.array([details.get(row) for row in rows.tolist()], pa.string())
    texts = _texts(resources, run.dataset_id, np.sort(rows))
    return [
        RowView(**record, **texts[record["row"]])
        for record in score_records(table.append_column("detail", told))
    ]


def _texts(resources: Resources, dataset_id: str, rows: Rows) -> dict[int, dict[str, Any]]:
    """What was read from ascending `rows`, cut; of those that could not be read the beginning of what came in."""
    records = records_of(resources, dataset_id)
    found: dict[int, dict[str, Any]] = {}
    for block in records.select(rows):
        for example in block:
            if isinstance(example, Example):
                short = Excerpt.of(example)
                found[example.row] = {
                    "source": example.source,
                    "id": example.id,
                    "prompt": short.prompt,
                    "answer": short.answer,
                    "prompt_chars": short.prompt_chars,
                    "answer_chars": short.answer_chars,
                }
    unread = np.array([row for row in rows.tolist() if row not in found], dtype=np.int64)
    for some, lines in records.raw(unread):
        for row, line in zip(some.tolist(), lines.to_pylist(), strict=True):
            # No character has more than four bytes.
            beginning = line[: 4 * EXCERPT_CHARS].decode("utf-8", "replace")
            found[row] = {"record": beginning[:EXCERPT_CHARS]}
    return found
