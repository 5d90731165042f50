"""`winnow agree`: how far two scorings of the same rows agree."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from winnow.agreement import Agreement, Correlation


def agree(
    first: Annotated[
        Path,
        typer.Argument(
            metavar="SCORES", help="A file that --scores wrote: .jsonl, .csv, .parquet."
        ),
    ],
    second: Annotated[
        Path,
        typer.Argument(
            metavar="SCORES", help="Scores of the same rows, by another model or method."
        ),
    ],
) -> None:
    """Compare two scores files of one dataset: rank correlations, what answer length explains, overlaps.

    Example: winnow agree scores-small.jsonl scores-large.jsonl
    """
    from winnow.agreement import agreement
    from winnow.scores import read_scores

    print("\n".join(_lines(agreement(read_scores(first), read_scores(second)))))


def _lines(found: Agreement) -> list[str]:
    return [
        f"rows that both scored    {found.rows:,}",
        f"Spearman                 {_correlation(found.spearman)}",
        f"  given answer length    {_correlation(found.partial)}",
        f"  length with each       {found.length_a:.3f}, {found.length_b:.3f}",
        f"Kendall                  {found.kendall:.3f}",
        "",
        "kept        highest   lowest   chance",
        *(
            f"{overlap.ratio:>6.0%}  {overlap.highest:>11.3f} {overlap.lowest:>8.3f} {overlap.chance:>8.3f}"
            for overlap in found.overlaps
        ),
    ]


def _correlation(found: Correlation) -> str:
    return f"{found.value:.3f}  [{found.low:.3f}, {found.high:.3f}]"
