"""What a command line asks for as a subset, and writing it; the same for `winnow score` and `winnow select`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cli.output import check_writable, format_of, replacing
from winnow.embedding import Matrix
from winnow.records.blocks import BlockReader
from winnow.records.render import SUBSET_FORMATS, render
from winnow.scores import ScoreTable, score_members
from winnow.selection.ratio import Selected, Selection, select


@dataclass(frozen=True, slots=True, kw_only=True)
class SubsetRequest:
    """A checked request: which rows, into which file, in which format."""

    path: Path
    format: str
    selection: Selection
    include_scores: bool


def subset_request(
    output: Path, *, inputs: tuple[Path, ...], include_scores: bool, **selection: Any
) -> SubsetRequest:
    """Check the options of a subset before any work is done.

    Raises:
        InvalidOption: names the option, and what it may be.
    """
    subset_format = format_of(output, SUBSET_FORMATS, param="--output")
    check_writable(output, inputs=inputs, param="--output")
    return SubsetRequest(
        path=output,
        format=subset_format,
        selection=Selection.make(**selection),
        include_scores=include_scores,
    )


def write_subset(
    request: SubsetRequest, blocks: BlockReader, scores: ScoreTable, *, points: Matrix | None
) -> Selected:
    """Select rows and write their records; the file is there whole or not at all.

    Raises:
        InvalidOption: there are no clusters or no embeddings (`points`), and the strategy needs them.
    """
    selected = select(
        scores,
        request.selection,
        sources=blocks.sources,
        points=None if points is None else lambda: points,
    )
    members = partial(score_members, scores) if request.include_scores else None
    with replacing(request.path) as file:
        for chunk in render(blocks, selected.rows, format=request.format, scores=members):
            file.write(chunk)
    return selected
