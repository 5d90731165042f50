"""`winnow score`: a file in, scores and a subset out, on this machine and without any server."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import options
from cli.output import check_writable, format_of, replacing
from winnow.errors import InvalidOption, NoUsableRows
from winnow.spec import Compat, Dtype, EngineName, Method, RunSpec

if TYPE_CHECKING:
    from winnow.embedding import Matrix
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
    method: Annotated[
        Method,
        typer.Option(
            help="What to measure: ifd asks a frozen proxy, the others fine-tune it on the whole file first."
        ),
    ] = "ifd",
    model: options.Model = None,
    engine: Annotated[EngineName | None, typer.Option(help="What computes losses.")] = None,
    dtype: Annotated[
        Dtype | None, typer.Option(help="Number format; float32 is what was published.")
    ] = None,
    template: options.Template = None,
    convention: options.Convention = None,
    statistic: options.Statistic = None,
    max_length: options.MaxLength = None,
    epochs: options.Epochs = None,
    points: options.TrajectoryPoints = None,
    batch_size: options.BatchSize = None,
    learning_rate: options.LearningRate = None,
    epoch: Annotated[
        int | None,
        typer.Option(
            help="Of learning_percentage: the epoch whose share of the drop is the score; default: 1.",
            rich_help_panel=options.TRAJECTORY,
        ),
    ] = None,
    compat: Annotated[
        Compat | None,
        typer.Option(
            help="Of learning_percentage: score rows that learn nothing with 0, as the published program does.",
            rich_help_panel=options.TRAJECTORY,
        ),
    ] = None,
    checkpoints: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Checkpoints that you trained yourself, instead of training.",
            rich_help_panel=options.TRAJECTORY,
        ),
    ] = None,
    keep_weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Keep the weights of the checkpoints in this new folder.",
            rich_help_panel=options.TRAJECTORY,
        ),
    ] = None,
    embeddings: options.Embeddings = None,
    save_embeddings: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npy",
            help="Write unit vectors of the embeddings, for select --embeddings.",
            rich_help_panel=options.CLUSTERS,
        ),
    ] = None,
    num_clusters: options.NumClusters = None,
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
    output: options.Output = None,
    output_format: options.OutputFormat = None,
    from_name: options.FromName = None,
    to_name: options.ToName = None,
    question_id: options.QuestionId = None,
    escape: options.Escape = None,
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

    Examples:
      winnow score data.jsonl --ratio 0.1 -o subset.jsonl --scores scores.jsonl
      winnow score data.jsonl --method s2l --ratio 0.1 -o subset.jsonl
    """
    from cli import local, report
    from cli.environment import read_settings
    from cli.scored import score_all
    from cli.subset import form_of, subset_request, write_subset
    from winnow.output import Origin
    from winnow.proxy.loading import load_engine
    from winnow.scores import ScoreTable
    from winnow.selection.request import check_available

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
        seed=seed,
        n_epochs=epochs,
        points=points,
        batch_size=options.number_or_auto(batch_size, int, param="batch-size"),
        learning_rate=options.number_or_auto(learning_rate, float, param="learning-rate"),
        epoch=epoch,
        compat=compat,
        checkpoints=None if checkpoints is None else str(checkpoints),
        keep_weights=keep_weights is not None,
        embeddings=embeddings,
        num_clusters=num_clusters,
    )
    _check_training(spec, keep_weights, epochs)
    _check_embeddings_file(save_embeddings, spec, inputs=(source,))
    if output is None and (ratio, count) != (None, None):
        raise InvalidOption(
            "--ratio and --count choose a subset: name its file with -o SUBSET.", param="output"
        )
    subset = None
    if output is not None:
        subset = subset_request(
            output,
            form_of(
                output,
                output_format,
                include_scores=include_scores,
                escape=escape,
                from_name=from_name,
                to_name=to_name,
                question_id=question_id,
            ),
            inputs=(source,),
            method=method,
            strategy=strategy,
            ratio=ratio,
            count=count,
            min_score=min_score,
            max_score=max_score,
            include_unlearned=include_unlearned,
            seed=seed,
            order=order,
            per=per,
            stratify=stratify,
            quota=quota,
            pool_ratio=pool_ratio,
        )
        check_available(subset.selection, spec)
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
        threads = threads or settings.threads
        loaded = load_engine(spec, settings=settings, threads=threads)
        if dry_run:
            report.say_estimate(local.estimate_rows(dataset.blocks, engine=loaded, spec=spec))
            return
        scored = score_all(
            dataset.blocks,
            engine=loaded,
            spec=spec,
            settings=settings,
            threads=threads,
            keep_weights=keep_weights,
        )
        report.say_scores(scored.table, method=method, seconds=time.monotonic() - started)
        _write(scores, scores_format, scored.table)
        _write_embeddings(save_embeddings, scored.points)
        if subset is not None:
            kept = write_subset(
                subset,
                dataset.blocks,
                scored.table,
                points=scored.points,
                origin=Origin(
                    method=method,
                    dataset=source.stem,
                    run=None,
                    version=_version(spec.model, loaded.revision),
                ),
            )
            report.say_subset(subset, kept)


def _check_training(spec: RunSpec, keep_weights: Path | None, epochs: int | None) -> None:
    if spec.trajectory is not None:
        from cli.trajectory import check_trajectory

        check_trajectory(spec, keep_weights, given_epochs=epochs)


def _version(model: str, revision: str) -> str:
    """What stands beside predictions; of a folder its name, since its place is nobody else's business."""
    name = Path(model).name if Path(model).is_dir() else model
    return f"{name}@{revision[:12]}"


def _check_embeddings_file(path: Path | None, spec: RunSpec, *, inputs: tuple[Path, ...]) -> None:
    if path is None:
        return
    if spec.embeddings is None:
        raise InvalidOption(
            "--save-embeddings writes what --embeddings asks for: give both.",
            param="save_embeddings",
        )
    format_of(path, ("npy",), param="--save-embeddings")
    check_writable(path, inputs=inputs, param="--save-embeddings")


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


def _write_embeddings(path: Path | None, points: Matrix | None) -> None:
    import numpy as np

    from cli import report

    if path is not None and points is not None:
        with replacing(path) as file:
            np.save(file, points, allow_pickle=False)
        report.say(f"embeddings of every row in {path}")


def _rejected(rejections: Iterable[Rejection]) -> Iterator[RowScore]:
    from winnow.scores import RowScore

    for each in rejections:
        yield RowScore(row=each.row, reason=each.reason, detail=each.detail)
