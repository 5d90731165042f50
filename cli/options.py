"""Options that several commands share, with the same words in each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

FormatName = Literal["auto", "json", "jsonl", "csv", "tsv", "parquet"]
StrategyName = Literal["top", "bottom", "random"]
OrderName = Literal["original", "score"]

InputFormat = Annotated[
    FormatName,
    typer.Option("--format", help="Container of the input, if its content should not decide."),
]
Ratio = Annotated[
    float | None, typer.Option(help="Keep this share of the rows read, above 0 and at most 1.")
]
Count = Annotated[int | None, typer.Option(help="Keep so many rows (instead of --ratio).")]
Strategy = Annotated[
    StrategyName | None,
    typer.Option(
        help="Which rows to keep; IFD's default is top: highest first, none at 1 or above."
    ),
]
MinScore = Annotated[float | None, typer.Option(help="Drop rows with a lower score first.")]
MaxScore = Annotated[float | None, typer.Option(help="Drop rows with a higher score first.")]
Seed = Annotated[int, typer.Option(help="Seed of --strategy random.")]
Order = Annotated[
    OrderName, typer.Option(help="Order of the subset: as in the input, or best first.")
]
Per = Annotated[
    Literal["source"] | None, typer.Option(help="Take the same number of rows from every source.")
]
Stratify = Annotated[
    Literal["length", "source"] | None,
    typer.Option(help="Keep the proportions of sources, or of tenths of answer length."),
]
IncludeScores = Annotated[
    bool,
    typer.Option("--include-scores", help="Add the score to each record, as the member 'winnow'."),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="SUBSET",
        help="Write the kept rows here: .jsonl, .json, .csv or .parquet; - is standard output.",
    ),
]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; default: all cores.")]
DataDir = Annotated[
    Path | None, typer.Option(help="Folder of the embedded mode; default: ./winnow-data.")
]
ServerUrl = Annotated[
    str, typer.Option("--url", envvar="WINNOW_URL", help="Address of a Winnow service.")
]
ApiKey = Annotated[
    str | None,
    typer.Option(envvar="WINNOW_API_KEY", help="Key for that service; an embedded one needs none."),
]
DEFAULT_URL = "http://127.0.0.1:8000"


def given(**values: Any) -> dict[str, Any]:
    """The options that were given on the command line; the others are left to the settings."""
    return {name: value for name, value in values.items() if value is not None}
