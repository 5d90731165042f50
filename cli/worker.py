"""`winnow worker`: one process that takes units of work from its queues."""

from __future__ import annotations

from typing import Annotated

import typer

from winnow.errors import ConfigurationError
from winnow.spec import EngineName


def worker(
    queues: Annotated[
        str, typer.Option(help="Which work to take: some of io, score, train; separated by commas.")
    ] = "io,score",
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, help="CPU threads; several workers on one machine must share its cores."
        ),
    ] = None,
    engine: Annotated[
        EngineName | None,
        typer.Option(
            help="What this worker computes with; default: WINNOW_ENGINE. vllm needs an environment of its own, and a "
            "process a GPU: CUDA_VISIBLE_DEVICES=0 winnow worker --queues score --engine vllm"
        ),
    ] = None,
    models: Annotated[
        str | None,
        typer.Option(
            help="Models that this worker offers, separated by commas; default: WINNOW_MODELS."
        ),
    ] = None,
    with_parent: Annotated[bool, typer.Option("--with-parent", hidden=True)] = False,
) -> int:
    """Work for a service until SIGTERM; the unit in progress is given back.

    Example: winnow worker --queues score --threads 4
    """
    from cli.environment import read_settings
    from cli.worker_process import end_with_parent, grace_of
    from workers.run import run_worker

    if with_parent:
        end_with_parent(grace_of(queues))
    settings = read_settings(models=models, engine=engine)
    if settings.database_url is None:
        raise ConfigurationError(
            "A worker is for a service: set WINNOW_DATABASE_URL, WINNOW_BROKER_URL and WINNOW_BLOB_URL. "
            "The embedded mode has its own inside `winnow serve`."
        )
    names = [name.strip() for name in queues.split(",") if name.strip()]
    return run_worker(settings, names, threads=threads)
