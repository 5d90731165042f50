"""Options that several commands share, with the same words in each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import typer

from winnow.errors import InvalidOption

SUBSET = "Subset"
TRAJECTORY = "Trajectory (learning_percentage, s2l)"
CLUSTERS = "Embeddings and clusters"
PLATFORMS = "Labelling platforms and spreadsheets"
"""Where options stand in the help."""

FormatName = Literal["auto", "json", "jsonl", "csv", "tsv", "parquet"]
StrategyName = Literal[
    "top", "bottom", "random", "cluster_bottom", "cluster_balanced", "facility_location"
]
OrderName = Literal["original", "score"]

InputFormat = Annotated[
    FormatName,
    typer.Option("--format", help="Container of the input, if its content should not decide."),
]
Ratio = Annotated[
    float | None,
    typer.Option(
        help="Keep this share of the rows read, above 0 and at most 1.", rich_help_panel=SUBSET
    ),
]
Count = Annotated[
    int | None,
    typer.Option(help="Keep so many rows (instead of --ratio).", rich_help_panel=SUBSET),
]
Strategy = Annotated[
    StrategyName | None,
    typer.Option(
        help="Which rows to keep; default: top of ifd (highest first, none at 1 or above), cluster_bottom of "
        "learning_percentage, cluster_balanced of s2l.",
        rich_help_panel=SUBSET,
    ),
]
MinScore = Annotated[
    float | None,
    typer.Option(help="Drop rows with a lower score first.", rich_help_panel=SUBSET),
]
MaxScore = Annotated[
    float | None,
    typer.Option(help="Drop rows with a higher score first.", rich_help_panel=SUBSET),
]
IncludeUnlearned = Annotated[
    bool,
    typer.Option(
        "--include-unlearned",
        help="Keep rows too that the proxy knew better before training.",
        rich_help_panel=SUBSET,
    ),
]
Seed = Annotated[
    int, typer.Option(help="Seed of what is drawn at random: subsets, clusters, order of training.")
]
Order = Annotated[
    OrderName,
    typer.Option(
        help="Order of the subset: as in the input, or best first.", rich_help_panel=SUBSET
    ),
]
Per = Annotated[
    Literal["source"] | None,
    typer.Option(help="Take the same number of rows from every source.", rich_help_panel=SUBSET),
]
Stratify = Annotated[
    Literal["length", "source"] | None,
    typer.Option(
        help="Keep the proportions of sources, or of tenths of answer length.",
        rich_help_panel=SUBSET,
    ),
]
Quota = Annotated[
    Literal["per_cluster"] | None,
    typer.Option(
        help="Of cluster_bottom: the ratio of every cluster, rounded up as published.",
        rich_help_panel=SUBSET,
    ),
]
PoolRatio = Annotated[
    float | None,
    typer.Option(
        help="Of facility_location: the share of the rows read, best first, to choose from; default: 0.2.",
        rich_help_panel=SUBSET,
    ),
]
IncludeScores = Annotated[
    bool,
    typer.Option(
        "--include-scores",
        help="Add the score to each record, as the member 'winnow'.",
        rich_help_panel=SUBSET,
    ),
]
Model = Annotated[
    str | None, typer.Option(help="Proxy: winnow-mini, a local folder, or hub-id@revision.")
]
Template = Annotated[
    Literal["plain", "alpaca", "chat"] | None,
    typer.Option(
        help="How a prompt is written out; default: plain for ifd, alpaca for the others."
    ),
]
Convention = Annotated[
    Literal["superfiltering", "paired"] | None,
    typer.Option(
        help="Of ifd: how both passes are cut; paired is the default with --template chat."
    ),
]
Statistic = Annotated[
    Literal["ppl_ratio", "loss_ratio", "lp", "approx"] | None,
    typer.Option(
        help="Of ifd: ratio of perplexities (default), or of mean losses (Cherry LLM). Of learning_percentage: lp "
        "(default), or approx, which one epoch is enough for."
    ),
]
MaxLength = Annotated[
    int | None,
    typer.Option(
        help="Tokens of prompt and answer; default: the model's window for ifd, 512 for the others."
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(
        "--epochs", "--n-epochs", help="Epochs of training; default: 3.", rich_help_panel=TRAJECTORY
    ),
]
TrajectoryPoints = Annotated[
    int | None,
    typer.Option(
        "--points",
        help="Evenly spaced checkpoints, which s2l reads; default: 12.",
        rich_help_panel=TRAJECTORY,
    ),
]
BatchSize = Annotated[
    str | None,
    typer.Option(
        metavar="INTEGER|auto", help="Rows of a step; default: auto.", rich_help_panel=TRAJECTORY
    ),
]
LearningRate = Annotated[
    str | None,
    typer.Option(
        metavar="FLOAT|auto",
        help="Highest rate of training; auto, the default, tries a few for a small model.",
        rich_help_panel=TRAJECTORY,
    ),
]
Embeddings = Annotated[
    str | None,
    typer.Option(
        metavar="true|false|sentence-transformers:NAME",
        help="What embeds the rows, for clusters and facility_location: the proxy, nothing, or a model by name, a "
        "folder or hub-id@revision; default: true for learning_percentage.",
        rich_help_panel=CLUSTERS,
    ),
]
NumClusters = Annotated[
    int | None,
    typer.Option(
        help="Clusters of rows; default: 100 for s2l, else one for every 50 rows, at most 1,000.",
        rich_help_panel=CLUSTERS,
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="SUBSET",
        help="Write the kept rows here: .jsonl, .json, .csv or .parquet; - is standard output.",
        rich_help_panel=SUBSET,
    ),
]
OutputFormat = Annotated[
    Literal["label_studio", "argilla"] | None,
    typer.Option(
        help="Write the subset for a platform instead: label_studio, tasks with predictions (.json); argilla, bulk "
        "requests (.jsonl).",
        rich_help_panel=PLATFORMS,
    ),
]
FromName = Annotated[
    str | None,
    typer.Option(
        help="Of label_studio: the control that takes keep, drop and check; default: verdict.",
        rich_help_panel=PLATFORMS,
    ),
]
ToName = Annotated[
    str | None,
    typer.Option(
        help="Of label_studio: the object that the control is about; default: answer.",
        rich_help_panel=PLATFORMS,
    ),
]
QuestionId = Annotated[
    UUID | None,
    typer.Option(
        help="Of argilla: the question that keep, drop and check answer; without it there are no suggestions.",
        rich_help_panel=PLATFORMS,
    ),
]
Escape = Annotated[
    Literal["spreadsheet"] | None,
    typer.Option(
        help="Of .csv: put an apostrophe before cells that a spreadsheet would take for formulas.",
        rich_help_panel=PLATFORMS,
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


def number_or_auto(
    text: str | None, kind: type[int | float], *, param: str
) -> float | int | str | None:
    """The value of an option that is a number or `auto`; None if it was not given.

    Raises:
        InvalidOption: it is neither.
    """
    if text is None or text == "auto":
        return text
    try:
        return kind(text)
    except ValueError as error:
        raise InvalidOption(f"--{param} is a number or auto; got {text!r}.", param=param) from error
