"""`winnow score`: a file in, scores and a subset out, on this machine and without any server."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import options
from cli.output import check_writable, replacing
from winnow.errors import InvalidOption, NoUsableRows
from winnow.spec import Convention, Dtype, EngineName, Method, RunSpec, Statistic, Template

if TYPE_CHECKING:
    from winnow.records.example import Rejection
    from winnow.scores import RowScore, ScoreFormat, ScoreTable


def score(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    source: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="Dataset: JSON, JSONL, CSV, TSV or Parquet, plain, gzip or zstd; - is standard input.",
        ),
    ],
    method: Annotated[Method, typer.Option(help="What to measure.")] = "ifd",
    model: Annotated[
        str | None,
        typer.Option(help="Proxy: winnow-mini, a local folder, or hub-id@revision."),
    ] = None,
    engine: Annotated[EngineName | None, typer.Option(help="What computes losses.")] = None,
    dtype: Annotated[
        Dtype | None, typer.Option(help="Number format; float32 is what was published.")
    ] = None,
    template: Annotated[Template, typer.Option(help="How a prompt is written out.")] = "plain",
    convention: Annotated[
        Convention | None,
        typer.Option(help="How both passes are cut; paired is the default with --template chat."),
    ] = None,
    statistic: Annotated[
        Statistic, typer.Option(help="Ratio of perplexities (IFD), or of mean losses (Cherry LLM).")
    ] = "ppl_ratio",
    max_length: Annotated[
        int | None, typer.Option(help="Tokens of prompt and answer; default: the model's window.")
    ] = None,
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
    output: options.Output = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write a line for every row here: .jsonl, .csv or .parquet."
        ),
    ] = None,
    threads: options.Threads = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Write nothing: estimate tokens, rejections and time from a sample."
        ),
    ] = False,
) -> None:
    """Score a file and keep the part worth training on; needs no server.

    Example: winnow score data.jsonl --ratio 0.1 -o subset.jsonl --scores scores.jsonl
    """
    from cli import local, report
    from cli.environment import read_settings
    from cli.subset import subset_request, write_subset
    from winnow.proxy.loading import load_engine
    from winnow.scores import ScoreTable

    settings = read_settings()
    chosen = engine or settings.default_engine
    spec = RunSpec.make(
        method=method,
        model=model or settings.models[0],
        engine=chosen,
        dtype=dtype or settings.dtype,
        template=template,
        convention=convention,
        statistic=statistic,
        max_length=max_length,
        token_budget=settings.budget_of(chosen),
    )
    if output is None and (ratio, count) != (None, None):
        raise InvalidOption(
            "--ratio and --count choose a subset: name its file with -o SUBSET.", param="output"
        )
    subset = None
    if output is not None:
        subset = subset_request(
            output,
            inputs=(source,),
            include_scores=include_scores,
            method=method,
            strategy=strategy,
            ratio=ratio,
            count=count,
            min_score=min_score,
            max_score=max_score,
            seed=seed,
            order=order,
            per=per,
            stratify=stratify,
        )
    scores_format = None if scores is None else _check_scores_file(scores, source, output)
    started = time.monotonic()
    with local.stored(
        source, given=input_format, max_record_bytes=settings.max_record_bytes
    ) as dataset:
        if not dataset.rows_usable:
            first = ((each.row, each.reason, each.detail) for each in dataset.rejections())
            report.say_rejections(first, dataset.rows_read)
            if dry_run:
                raise NoUsableRows
            _write(scores, scores_format, ScoreTable.from_rows(_rejected(dataset.rejections())))
            raise NoUsableRows
        loaded = load_engine(spec, settings=settings, threads=threads or settings.threads)
        if dry_run:
            report.say_estimate(local.estimate_rows(dataset.blocks, engine=loaded, spec=spec))
            return
        table = local.score_rows(dataset.blocks, engine=loaded, spec=spec)
        report.say_scores(table, seconds=time.monotonic() - started)
        _write(scores, scores_format, table)
        if subset is not None:
            report.say_subset(subset, write_subset(subset, dataset.blocks, table))


def _check_scores_file(scores: Path, source: Path, output: Path | None) -> ScoreFormat:
    from winnow.scores import score_format

    check_writable(scores, inputs=(source,), param="--scores")
    if output is not None and scores.resolve() == output.resolve():
        raise InvalidOption("--scores and --output name the same file.", param="scores")
    return score_format(scores)


def _write(scores: Path | None, scores_format: ScoreFormat | None, table: ScoreTable) -> None:
    from cli import report
    from winnow.scores import write_scores

    if scores is not None and scores_format is not None:
        with replacing(scores) as file:
            write_scores(table.batches(), file, format=scores_format)
        report.say_written(scores)


def _rejected(rejections: Iterable[Rejection]) -> Iterator[RowScore]:
    from winnow.scores import RowScore

    for each in rejections:
        yield RowScore(row=each.row, reason=each.reason, detail=each.detail)
