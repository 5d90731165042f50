"""A completed run as one file of HTML to send around: where it comes from, its figures, rows from both ends of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi.responses import HTMLResponse

from service.resources import Resources
from service.runs import drawing
from service.runs.columns import records_of, score_columns
from service.runs.drawing import Cloud, Scale
from service.runs.histogram import histogram
from service.runs.html import HEADERS, PAGES, POLICY, STYLE
from service.runs.points import draw
from service.runs.reproduce import as_python, as_shell, asked_options
from service.runs.rows import RowQuery, RowView, page
from service.runs.schemas import Histogram
from service.runs.sources import SourceView, compare
from winnow import __version__
from winnow.selection.ratio import MISLEADING, Selected, Selection, select
from winnow.spec import Method
from winnow.store.datasets import get_dataset
from winnow.store.runs import Run

BINS = 60
POINTS = 2_000
RATIO = "0.1"
ROWS = 8
REJECTED_ROWS = 10
SOURCES = 20
TEXT_CHARS = 700
"""Of a prompt and of an answer."""

JUST_BELOW_1 = 0.999999
"""The highest score below 1 that is stored: six decimals."""

MEANING: dict[Method, str] = {
    "ifd": "Instruction-following difficulty: how much less the answer surprises a small model once it has read the "
    "prompt. Near 1 the prompt hardly helps, so such rows teach most; from 1 on it misleads, and prompt and answer do "
    "not fit; the lower the score, the more of the answer the prompt gives away.",
    "learning_percentage": "Learning percentage: the part of all that a small model learns of a row in its fine-tune "
    "which it has learned after the first epoch. Low means learned late: such rows are hard, and are kept first.",
    "s2l": "S2L: rows are grouped by how their losses fall while a small model is fine-tuned, and a subset takes equal "
    "parts of the groups. The score is the mean of a row's losses; it ranks nothing by itself.",
}
GROUPS: dict[Method, list[tuple[str, dict[str, Any]]]] = {
    "ifd": [
        ("Highest below 1: kept first", {"order": "desc", "max_score": JUST_BELOW_1}),
        ("1 and more: look at these", {"order": "desc", "min_score": MISLEADING}),
        ("Lowest: left first", {"order": "asc"}),
    ],
    "learning_percentage": [
        ("Lowest: kept first", {"order": "asc"}),
        ("Highest: left first", {"order": "desc"}),
    ],
    "s2l": [
        ("Highest: learned late, or never", {"order": "desc"}),
        ("Lowest: learned soon", {"order": "asc"}),
    ],
}


@dataclass(frozen=True, slots=True)
class Group:
    """Rows from one end of the scores."""

    title: str
    rows: list[RowView]


def response(resources: Resources, run: Run) -> HTMLResponse:
    """The report of a completed run, to be looked at where it is opened.

    Raises:
        NotFound: its dataset was deleted in this moment.
    """
    shown = {"Content-Disposition": f'inline; filename="{run.id}-report.html"'}
    return HTMLResponse(render(resources, run), headers=HEADERS | shown)


def render(resources: Resources, run: Run) -> str:
    """The report as text."""
    with resources.database.transaction() as connection:
        dataset = get_dataset(connection, owner=run.owner, dataset_id=run.dataset_id)
    scores = score_columns(resources, run)
    found = histogram(run, scores, bins=BINS, low=None, high=None)
    return PAGES.get_template("report.html").render(
        version=__version__,
        policy=POLICY,
        style=STYLE,
        run=run,
        dataset=dataset,
        summary=run.summary or {},
        options=asked_options(run.spec) | {"token_budget": run.spec.token_budget},
        meaning=MEANING[run.method],
        kept=_kept(resources, run),
        frame=drawing.FRAME,
        box_width=drawing.BOX_WIDTH,
        histogram=found,
        bars=drawing.bars(found.edges, found.counts) if found.scored else None,
        cloud=_cloud(resources, run, found),
        misleading=MISLEADING if run.method == "ifd" else None,
        sources=(sources := _sources(resources, run)),
        boxes=_box_scale(sources),
        groups=_groups(resources, run),
        rejected=_rows(resources, run, REJECTED_ROWS, sort="row", order="asc", status="rejected"),
        text_chars=TEXT_CHARS,
        shell=as_shell(run.spec, dataset),
        python=as_python(run.spec, dataset),
    )


def _kept(resources: Resources, run: Run) -> Selected | None:
    """What a tenth of the rows would be that goes by the score alone; None of s2l, whose score ranks nothing."""
    if run.method == "s2l":
        return None
    strategy = "top" if run.method == "ifd" else "bottom"
    selection = Selection.make(method=run.method, strategy=strategy, ratio=RATIO)
    sources = records_of(resources, run.dataset_id).sources
    return select(score_columns(resources, run), selection, sources=sources)


def _cloud(resources: Resources, run: Run, found: Histogram) -> Cloud | None:
    points = draw(
        resources, run, x="tokens_conditioned", y="score", limit=POINTS, seed=run.spec.seed
    )
    if not points.row:
        return None
    return drawing.cloud(points.x, points.y, low=found.edges[0], high=found.edges[-1])


def _sources(resources: Resources, run: Run) -> list[SourceView]:
    """The largest sources; none if no row names one."""
    found = compare(resources, run).data[:SOURCES]
    return found if any(source.source is not None for source in found) else []


def _box_scale(sources: list[SourceView]) -> Scale | None:
    quantiles = [source.quantiles for source in sources if source.quantiles]
    if not quantiles:
        return None
    return drawing.box_scale([one["5"] for one in quantiles], [one["95"] for one in quantiles])


def _groups(resources: Resources, run: Run) -> list[Group]:
    found = [
        Group(title=title, rows=_rows(resources, run, ROWS, status="scored", **which))
        for title, which in GROUPS[run.method]
    ]
    return [group for group in found if group.rows]


def _rows(resources: Resources, run: Run, limit: int, **which: Any) -> list[RowView]:
    return page(resources, run, RowQuery(limit=limit, **which)).data
