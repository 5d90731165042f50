"""`winnow select`: another subset from scores that are there, without scoring again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import options
from cli.output import check_writable, replacing
from winnow.errors import InputError, InvalidOption
from winnow.spec import Method

if TYPE_CHECKING:
    from cli.local import Dataset
    from winnow.embedding import Matrix
    from winnow.output import Output
    from winnow.scores import ScoreTable

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
    method: Annotated[
        Method | None,
        typer.Option(help="What a scores file measures; default: ifd if each row has two losses."),
    ] = None,
    embeddings: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npy",
            help="What --save-embeddings wrote; facility_location on a scores file compares them.",
        ),
    ] = None,
    output: options.Output = None,
    output_format: options.OutputFormat = None,
    from_name: options.FromName = None,
    to_name: options.ToName = None,
    question_id: options.QuestionId = None,
    escape: options.Escape = None,
    ratio: options.Ratio = None,
    count: options.Count = None,
    strategy: options.Strategy = None,
    min_score: options.MinScore = None,
    max_score: options.MaxScore = None,
    include_unlearned: options.IncludeUnlearned = False,
    seed: options.Seed = 42,
    order: options.Order = "original",
    per: options.Per = None,
    stratify: options.Stratify = None,
    quota: options.Quota = None,
    pool_ratio: options.PoolRatio = None,
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
    from cli.subset import form_of

    if output is None:
        raise InvalidOption("Name the file of the subset with -o SUBSET.", param="output")
    chosen: dict[str, Any] = {
        "strategy": strategy,
        "ratio": ratio,
        "count": count,
        "min_score": min_score,
        "max_score": max_score,
        "include_unlearned": include_unlearned or None,
        "seed": seed,
        "order": order,
        "per": per,
        "stratify": stratify,
        "quota": quota,
        "pool_ratio": pool_ratio,
    }
    form = form_of(
        output,
        output_format,
        include_scores=include_scores,
        escape=escape,
        from_name=from_name,
        to_name=to_name,
        question_id=question_id,
    )
    if source.startswith(RUN_PREFIX) and not Path(source).exists():
        _check(chosen)
        _download(source, output, options.given(**chosen), form, url=url, api_key=api_key)
    else:
        _select_locally(
            Path(source),
            data,
            output,
            form,
            method=method,
            embeddings=embeddings,
            chosen=chosen,
            input_format=input_format,
        )


def _download(
    run: str, output: Path, chosen: dict[str, Any], form: Output, *, url: str, api_key: str | None
) -> None:
    from winnow.client import Client

    asked: Any = chosen | form.as_query()
    check_writable(output, inputs=(), param="--output")
    with Client(url, api_key) as client, replacing(output) as file:
        for chunk in client.subset(**asked, run=run):
            file.write(chunk)
    print(f"kept rows of {run} in {output}", file=sys.stderr)


def _select_locally(
    scores: Path,
    data: Path | None,
    output: Path,
    form: Output,
    *,
    method: Method | None,
    embeddings: Path | None,
    chosen: dict[str, Any],
    input_format: str,
) -> None:
    from cli import report
    from cli.subset import subset_request, write_subset
    from winnow.output import Origin
    from winnow.scores import read_scores

    data = require_data(data)
    _check(chosen)
    if chosen["strategy"] == "facility_location" and embeddings is None:
        raise InvalidOption(
            "A scores file has no embeddings, which --strategy facility_location compares: name theirs with "
            "--embeddings FILE.npy, which `winnow score --embeddings true --save-embeddings FILE.npy` writes.",
            param="embeddings",
        )
    table = read_scores(scores)
    request = subset_request(
        output,
        form,
        inputs=(scores, data),
        method=method or method_of(table, chosen["strategy"], chosen["order"]),
        **chosen,
    )
    points = None if embeddings is None else _read_points(embeddings, len(table))
    with scored_dataset(data, table, scores=scores, input_format=input_format) as dataset:
        origin = Origin(
            method=request.selection.method, dataset=data.stem, run=None, version=scores.stem
        )
        kept = write_subset(request, dataset.blocks, table, points=points, origin=origin)
        report.say_subset(request, kept)


def require_data(data: Path | None) -> Path:
    """The dataset that a scores file belongs to.

    Raises:
        InvalidOption: it was not named.
    """
    if data is None:
        raise InvalidOption(
            "Scores do not hold the records: name the dataset they belong to with --data FILE.",
            param="data",
        )
    return data


@contextmanager
def scored_dataset(
    data: Path, table: ScoreTable, *, scores: Path, input_format: str
) -> Iterator[Dataset]:
    """The rows that a scores file belongs to, in their stored form.

    Raises:
        InvalidOption: it has another number of rows than the scores.
    """
    from cli import local
    from cli.environment import read_settings

    limit = read_settings().max_record_bytes
    with local.stored(data, given=input_format, max_record_bytes=limit) as dataset:
        if dataset.rows_read != len(table):
            raise InvalidOption(
                f"{scores} has {len(table):,} rows and {data} has {dataset.rows_read:,}: "
                "it is not the dataset that was scored.",
                param="data",
            )
        yield dataset


def _check(chosen: dict[str, Any]) -> None:
    """Say what is wrong before a service is asked or a file is read, whatever the method turns out to be.

    Raises:
        InvalidOption: names the option, and what it may be.
    """
    from winnow.selection.ratio import DEFAULT_STRATEGY, Selection

    if chosen["strategy"] is None and chosen["quota"] is not None:
        Selection.make(**chosen | {"strategy": DEFAULT_STRATEGY["learning_percentage"]})
    else:
        Selection.make(**chosen)


def method_of(table: ScoreTable, strategy: str | None, order: str | None) -> Method:
    """What a scores file measures, as far as it shows: only IFD has a loss of the answer alone.

    Raises:
        InvalidOption: another method, and what it is matters.
    """
    if table.num_scored == 0 or table.table.column("tokens_direct").null_count < len(table):
        return "ifd"
    if strategy not in {"bottom", "cluster_bottom", "cluster_balanced"} or order == "score":
        raise InvalidOption(
            "The scores are not of ifd, and which end of them is wanted depends on what they are: name it with "
            "--method learning_percentage or --method s2l.",
            param="method",
        )
    return "s2l" if strategy == "cluster_balanced" else "learning_percentage"


def _read_points(path: Path, num_rows: int) -> Matrix:
    """Unit vectors of every row.

    Raises:
        InputError: the file does not hold them.
    """
    import numpy as np

    try:
        points: Matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InputError(f"{path} is no file that --save-embeddings wrote.") from error
    if points.dtype != np.float32 or points.ndim != 2 or len(points) != num_rows:  # noqa: PLR2004
        raise InputError(f"{path} does not hold an embedding for each of {num_rows:,} rows.")
    return points
