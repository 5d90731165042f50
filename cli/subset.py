"""What a command line asks for as a subset, and writing it; the same for `winnow score` and `winnow select`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.output import STDOUT, check_writable, format_of, replacing
from winnow.embedding import Matrix
from winnow.output import Origin, Output, render_output
from winnow.records.blocks import BlockReader
from winnow.records.render import SUBSET_FORMATS
from winnow.scores import ScoreTable
from winnow.selection.ratio import Selected, Selection, select


@dataclass(frozen=True, slots=True, kw_only=True)
class SubsetRequest:
    """A checked request: which rows, into which file, in which form."""

    path: Path
    form: Output
    selection: Selection


def form_of(path: Path, output_format: str | None, **options: Any) -> Output:
    """The form of a subset: what `--output-format` says, else the suffix of its file.

    Raises:
        InvalidOption: the suffix belongs to another form, or an option does.
    """
    if output_format is None:
        suffix_says = format_of(path, SUBSET_FORMATS, param="--output")
        return Output(format=suffix_says, **options)
    form = Output(format=output_format, **options)
    if path != STDOUT:
        format_of(path, (form.suffix,), param="--output")
    return form


def subset_request(
    path: Path, form: Output, *, inputs: tuple[Path, ...], **selection: Any
) -> SubsetRequest:
    """Check the options of a subset before any work is done.

    Raises:
        InvalidOption: names the option, and what it may be.
    """
    check_writable(path, inputs=inputs, param="--output")
    return SubsetRequest(path=path, form=form, selection=Selection.make(**selection))


def write_subset(
    request: SubsetRequest,
    blocks: BlockReader,
    scores: ScoreTable,
    *,
    points: Matrix | None,
    origin: Origin,
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
    chunks = render_output(blocks, selected.rows, output=request.form, scores=scores, origin=origin)
    with replacing(request.path) as file:
        file.writelines(chunks)
    return selected
