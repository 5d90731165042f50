"""`winnow demo`: the whole path on the bundled sample, from a posted file to a subset, and what it found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from winnow.client import Client, Run

SUBSET_RATIO = 0.1
LOG_NAME = "worker.log"


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where to write the subset.")
    ] = Path("winnow-demo-subset.jsonl"),
    data_dir: Annotated[
        Path | None, typer.Option(help="Keep the service's data here; default: a temporary folder.")
    ] = None,
) -> None:
    """Score the bundled sample through a service on this machine and show what it finds. Takes less than a minute."""
    from rich.console import Console

    from cli.demo_report import Findings, show
    from cli.output import check_writable, format_of
    from winnow.records.render import SUBSET_FORMATS
    from winnow.sample import sample_path

    check_writable(output, inputs=(), param="--output")
    format_of(output, SUBSET_FORMATS, param="--output")
    console = Console(highlight=False, soft_wrap=True)
    console.print("Starting Winnow on this machine: a database, a worker and the HTTP gateway ...")
    with _service(data_dir) as client:
        run = client.score(sample_path(), name="demo")
        console.print(f"Posted {sample_path().name} to {client.url}/score")
        run = _wait(client, run)
        findings = Findings.gather(sample_path(), list(client.scores(run.id)))
        subset = client.download(output, run=run.id, ratio=SUBSET_RATIO)
        show(console, run, findings, subset)


@contextmanager
def _service(data_dir: Path | None) -> Iterator[Client]:
    """An embedded service on a free port, and a client of it."""
    from cli import installation
    from cli.environment import settings_with
    from cli.gateway import serving_in_thread
    from winnow.client import Client
    from workers.logs import configure_logs

    with ExitStack() as stack:
        folder = data_dir or Path(stack.enter_context(TemporaryDirectory(prefix="winnow-demo-")))
        settings = settings_with(
            data_dir=folder.resolve(),
            database_url=None,
            broker_url=None,
            blob_url=None,
            models=("winnow-mini",),
            log_level="warning",
        )
        configure_logs(settings.log_level)
        listener = stack.enter_context(installation.listen("127.0.0.1", 0))
        settings = stack.enter_context(installation.embedded(settings))
        log = stack.enter_context((folder / LOG_NAME).open("ab"))
        stack.enter_context(installation.background(settings, worker_log=log, trains=False))
        stack.enter_context(serving_in_thread(listener, settings))
        yield stack.enter_context(Client(installation.address(listener)))


def _wait(client: Client, run: Run) -> Run:
    from cli.progress import row_progress

    with row_progress("scoring") as advance:
        return client.wait(
            run, on_progress=lambda now: advance(now.counts.rows_done, now.counts.rows)
        )
