"""Following a fine-tuning job: a live loss line on a terminal, a line now and then elsewhere; all on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cli.progress import LINE_EVERY_S, duration
from cli.report import say

if TYPE_CHECKING:
    from winnow.client import Client, FineTune

STEP = "fine_tune.step"
QUEUED = "fine_tune.queued"
EXIT_FAILED = 1

Hear = Callable[[dict[str, Any]], None]


def follow(client: Client, job_id: str, output: Path | None) -> None:
    """Follow a job to its end, and fetch its result if a folder is named.

    Raises:
        Exit: it did not succeed; the reason was said.
    """
    try:
        with _loss_line() as hear:
            for event in client.follow(job_id):
                hear(event)
                if event["winnow"]["type"] == QUEUED:
                    _say_what_it_waits_for(client.job(job_id))
    except KeyboardInterrupt:
        to = "" if output is None else f" -o {output}"
        say(f"the job goes on; come back with: winnow jobs follow {job_id}{to}")
        say(f"or end it with: winnow jobs cancel {job_id}")
        raise
    finish(client, client.job(job_id), output)


def finish(client: Client, job: FineTune, output: Path | None) -> None:
    """Say how a job ended, and fetch its result if a folder is named.

    Raises:
        Exit: it did not succeed.
    """
    if job.status != "succeeded":
        say(f"error: {job.error.message if job.error else f'The job was {job.status}.'}")
        raise typer.Exit(EXIT_FAILED)
    took = (job.finished_at or 0) - job.created_at
    say(f"{job.fine_tuned_model}: {job.trained_tokens or 0:,} tokens in {duration(took)}")
    if output is None:
        say(f"fetch it with: winnow jobs download {job.id} -o FOLDER")
    else:
        fetch(client, job.id, output)


def fetch(client: Client, job_id: str, output: Path) -> None:
    """Write the result of a job into a new folder."""
    written = client.download_result(job_id, output)
    say(f"{len(written)} files in {output}; its README.md says what they are")


def words(data: dict[str, Any], valid_loss: float | None) -> str:
    """`step 12/60  loss 1.2345  valid 1.3000  812 tokens/s  1 min 02 s left`."""
    valid = "" if valid_loss is None else f"  valid {valid_loss:.4f}"
    return (
        f"step {data['step']}/{data['total_steps']}  loss {data['loss']:.4f}{valid}"
        f"  {data['tokens_per_s']:,.0f} tokens/s  {duration(data['eta_s'])} left"
    )


def _say_what_it_waits_for(job: FineTune) -> None:
    if job.winnow.waits_for is not None:
        say(job.winnow.waits_for)


def _loss_line() -> AbstractContextManager[Hear]:
    return _live() if sys.stderr.isatty() else _lines()


@contextmanager
def _live() -> Iterator[Hear]:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(stderr=True, highlight=False)
    valid_loss: float | None = None
    with Live(console=console, auto_refresh=False, transient=True) as live:

        def hear(event: dict[str, Any]) -> None:
            nonlocal valid_loss
            if event["winnow"]["type"] == STEP:
                live.update(Text(words(event["data"], valid_loss)), refresh=True)
                return
            valid_loss = event["data"].get("loss", valid_loss)
            say(event["message"])

        yield hear


@contextmanager
def _lines() -> Iterator[Hear]:
    valid_loss: float | None = None
    said = float("-inf")

    def hear(event: dict[str, Any]) -> None:
        nonlocal valid_loss, said
        if event["winnow"]["type"] != STEP:
            valid_loss = event["data"].get("loss", valid_loss)
            say(event["message"])
            return
        data, now = event["data"], time.monotonic()
        if now - said >= LINE_EVERY_S or data["step"] == data["total_steps"]:
            said = now
            say(words(data, valid_loss))

    yield hear
