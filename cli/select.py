"""`winnow select`: another subset from scores that are there, without scoring again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import options
from cli.output import check_writable, format_of, replacing
from winnow.errors import InvalidOption

RUN_PREFIX = "run_"


def select(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    source: Annotated[
        str,
        typer.Argument(
            metavar="SCORES|RUN",
            help="A file that --scores wrote (.jsonl, .csv, .parquet), or the id of a service's run.",
        ),
    ],
    data: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The dataset that a scores file belongs to.")
    ] = None,
    output: options.Output = None,
    ratio: options.Ratio = None,
    count: options.Count = None,
    strategy: options.Strategy = None,
    min_score: options.MinScore = None,
    max_score: options.MaxScore = None,
    seed: options.Seed = 42,
    order: options.Order = "original",
    per: options.Per = None,
    stratify: options.Stratify = None,
    include_scores: options.IncludeScores = False,
    input_format: options.InputFormat = "auto",
    url: options.ServerUrl = options.DEFAULT_URL,
    api_key: options.ApiKey = None,
) -> None:
    """Select again from stored scores.

    Examples:
      winnow select scores.jsonl --data data.jsonl --ratio 0.2 -o subset.jsonl
      winnow select run_... --ratio 0.2 -o subset.jsonl --url http://127.0.0.1:8000
    """
    from winnow.selection.ratio import Selection

    if output is None:
        raise InvalidOption("Name the file of the subset with -o SUBSET.", param="output")
    chosen: dict[str, Any] = {
        "strategy": strategy,
        "ratio": ratio,
        "count": count,
        "min_score": min_score,
        "max_score": max_score,
        "seed": seed,
        "order": order,
        "per": per,
        "stratify": stratify,
    }
    if source.startswith(RUN_PREFIX) and not Path(source).exists():
        Selection.make(**chosen)  # what is wrong is said before a service is asked
        asked = options.given(**chosen) | ({"include": "scores"} if include_scores else {})
        _download(source, output, asked, url=url, api_key=api_key)
    else:
        _select_locally(
            Path(source),
            data,
            output,
            chosen=chosen,
            include_scores=include_scores,
            input_format=input_format,
        )


def _download(
    run: str, output: Path, asked: dict[str, Any], *, url: str, api_key: str | None
) -> None:
    from winnow.client import Client
    from winnow.records.render import SUBSET_FORMATS

    subset_format: Any = format_of(output, SUBSET_FORMATS, param="--output")
    check_writable(output, inputs=(), param="--output")
    with Client(url, api_key) as client, replacing(output) as file:
        for chunk in client.subset(**asked, run=run, format=subset_format):
            file.write(chunk)
    print(f"kept rows of {run} in {output}", file=sys.stderr)


def _select_locally(
    scores: Path,
    data: Path | None,
    output: Path,
    *,
    chosen: dict[str, Any],
    include_scores: bool,
    input_format: str,
) -> None:
    from cli import local, report
    from cli.environment import read_settings
    from cli.subset import subset_request, write_subset
    from winnow.scores import read_scores

    if data is None:
        raise InvalidOption(
            "Scores do not hold the records: name the dataset they belong to with --data FILE.",
            param="data",
        )
    request = subset_request(output, inputs=(scores, data), include_scores=include_scores, **chosen)
    table = read_scores(scores)
    limit = read_settings().max_record_bytes
    with local.stored(data, given=input_format, max_record_bytes=limit) as dataset:
        if dataset.rows_read != len(table):
            raise InvalidOption(
                f"{scores} has {len(table):,} rows and {data} has {dataset.rows_read:,}: "
                "it is not the dataset that was scored.",
                param="data",
            )
        report.say_subset(request, write_subset(request, dataset.blocks, table))
