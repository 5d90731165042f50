"""`winnow trust`: how far a small proxy ranks your own rows as a larger model does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import options
from winnow.errors import InvalidOption
from winnow.spec import Dtype, EngineName, Method, RunSpec

if TYPE_CHECKING:
    from cli.local import Dataset, Sample
    from winnow.agreement import Correlation
    from winnow.scores import ScoreTable
    from winnow.settings import Settings
    from winnow.trust import Trust


def trust(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    source: Annotated[
        Path,
        typer.Argument(metavar="DATA", help="Dataset, as for winnow score; - is standard input."),
    ],
    target: Annotated[
        str,
        typer.Option(
            help="The larger model that the proxy is to stand for: a folder, or hub-id@revision."
        ),
    ],
    proxy: Annotated[
        str | None, typer.Option(help="The small model; default: winnow-mini.")
    ] = None,
    sample: Annotated[
        int, typer.Option(help="Rows that both models score, from 50 to 2,000.")
    ] = 500,
    method: Annotated[Method, typer.Option(help="What to measure.")] = "ifd",
    engine: Annotated[EngineName | None, typer.Option(help="What computes losses.")] = None,
    dtype: Annotated[Dtype | None, typer.Option(help="Number format.")] = None,
    template: options.Template = None,
    convention: options.Convention = None,
    statistic: options.Statistic = None,
    max_length: options.MaxLength = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    learning_rate: options.LearningRate = None,
    seed: options.Seed = 42,
    input_format: options.InputFormat = "auto",
    threads: options.Threads = None,
) -> None:
    """Score a sample with a small and a large model, and say how far the small one's ranking can be trusted.

    Example: winnow trust data.jsonl --target Qwen/Qwen3-8B@main --sample 500
    """
    from cli import local
    from cli.environment import read_settings
    from winnow.trust import check_sample
    from winnow.trust import trust as compare

    check_sample(sample)
    settings = read_settings()
    chosen = engine or settings.default_engine
    specs = [
        RunSpec.make(
            method=method,
            model=model,
            engine=chosen,
            dtype=dtype or settings.dtype,
            template=template,
            convention=convention,
            statistic=statistic,
            max_length=max_length,
            token_budget=settings.budget_of(chosen),
            seed=seed,
            n_epochs=epochs,
            batch_size=options.number_or_auto(batch_size, int, param="batch-size"),
            learning_rate=options.number_or_auto(learning_rate, float, param="learning-rate"),
            embeddings=False,
        )
        for model in (proxy or settings.models[0], target)
    ]
    if specs[0] == specs[1]:
        raise InvalidOption(
            f"Proxy and target are both {specs[0].model}: name the larger model that you mean to train with --target.",
            param="target",
        )
    with local.stored(
        source, given=input_format, max_record_bytes=settings.max_record_bytes
    ) as dataset:
        rows = _sample(dataset, sample, seed)
        small, large = (_scores(rows, spec, settings, threads) for spec in specs)
    print("\n".join(_lines(compare(small, large, method=method, seed=seed), specs)))


def _sample(dataset: Dataset, size: int, seed: int) -> Sample:
    import numpy as np

    from cli.local import Sample
    from winnow.errors import NoUsableRows
    from winnow.trust import sample_rows

    if not dataset.rows_usable:
        raise NoUsableRows
    usable = np.ones(dataset.rows_read, dtype=np.bool_)
    usable[[rejection.row for rejection in dataset.rejections()]] = False
    return Sample(list(dataset.examples(sample_rows(usable, size, seed=seed))))


def _scores(rows: Sample, spec: RunSpec, settings: Settings, threads: int | None) -> ScoreTable:
    from cli.report import say
    from cli.scored import score_all
    from winnow.proxy.loading import load_engine

    say(f"{spec.model}: {rows.num_rows:,} rows")
    threads = threads or settings.threads
    engine = load_engine(spec, settings=settings, threads=threads)
    return score_all(rows, engine=engine, spec=spec, settings=settings, threads=threads).table


def _lines(found: Trust, specs: list[RunSpec]) -> list[str]:
    return [
        f"{specs[0].model} for {specs[1].model}, {specs[0].method}",
        f"rows that both scored     {found.rows:,}",
        f"Spearman                  {_interval(found.spearman)}",
        f"  given answer length     {_interval(found.partial)}",
        f"answer length alone       {_interval(found.length)}",
        f"  gained over it          {_interval(found.gain)}",
        "",
        "kept    of the target's by the proxy   by length   by chance",
        *(
            f"{one.ratio:>4.0%}  {_interval(one.proxy):>28} {one.length:>11.3f} {one.chance:>11.3f}"
            for one in found.kept
        ),
        "",
        f"{found.verdict}: {found.words}",
    ]


def _interval(found: Correlation) -> str:
    return f"{found.value:6.3f}  [{found.low:6.3f}, {found.high:6.3f}]"
