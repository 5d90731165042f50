"""`winnow jobs`: fine-tuning jobs of a service, looked at, steered and fetched."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import options
from cli.fine_tune import ResultFolder

if TYPE_CHECKING:
    from winnow.client import FineTune

app = typer.Typer(
    name="jobs", help="List, follow, steer and fetch fine-tuning jobs.", no_args_is_help=True
)

JobId = Annotated[str, typer.Argument(metavar="JOB", help="Id of the job: ftjob-...")]
LAST_EVENTS = 10


@app.command("list")
def list_all(
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 20,
    url: options.ServerUrl = options.DEFAULT_URL,
    api_key: options.ApiKey = None,
) -> None:
    """List your jobs, the newest first: status, steps, model, and what it is trained on."""
    from winnow.client import Client

    with Client(url, api_key) as client:
        for job in islice(client.jobs(), limit):
            made = datetime.fromtimestamp(job.created_at, UTC).strftime("%Y-%m-%d %H:%M")
            print(
                f"{job.id}  {made}  {job.status:<16}  {_steps(job):>9}  {job.model}  {job.training_file}"
            )


@app.command()
def show(
    job_id: JobId, url: options.ServerUrl = options.DEFAULT_URL, api_key: options.ApiKey = None
) -> None:
    """Show one job: what it is, how far it is, what it waits for, and its last events."""
    from winnow.client import Client

    with Client(url, api_key) as client:
        job = client.job(job_id)
        events = client.job_events(job_id, limit=LAST_EVENTS)
    hyperparameters = "  ".join(f"{name} {value}" for name, value in job.hyperparameters.items())
    own = "  ".join(f"{name} {value}" for name, value in job.winnow.options.items())
    facts = {
        "status": job.status,
        "steps": _steps(job),
        "waits for": job.winnow.waits_for,
        "error": job.error and job.error.message,
        "model": job.model,
        "result": job.fine_tuned_model,
        "trained on": job.training_file,
        "validated on": job.validation_file,
        "hyperparameters": hyperparameters,
        "options": own,
    }
    print(job.id)
    for name, value in facts.items():
        if value:
            print(f"  {name:<16} {value}")
    for event in reversed(events):
        when = datetime.fromtimestamp(event["created_at"], UTC).strftime("%H:%M:%S")
        print(f"  {when}  {event['message']}")


@app.command()
def follow(
    job_id: JobId,
    output: ResultFolder = None,
    url: options.ServerUrl = options.DEFAULT_URL,
    api_key: options.ApiKey = None,
) -> None:
    """Follow a job until it ends; exit code 1 if it does not succeed."""
    from cli.follow import follow as follow_job
    from winnow.client import Client
    from winnow.client.fine_tunes import check_new_folder

    if output is not None:
        check_new_folder(output)
    with Client(url, api_key) as client:
        follow_job(client, client.job(job_id).id, output)


@app.command()
def download(
    job_id: JobId,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="A new folder.")],
    url: options.ServerUrl = options.DEFAULT_URL,
    api_key: options.ApiKey = None,
) -> None:
    """Write the adapter or model of a job that succeeded into a new folder."""
    from cli.follow import fetch
    from winnow.client import Client

    with Client(url, api_key) as client:
        fetch(client, job_id, output)


@app.command()
def cancel(
    job_id: JobId, url: options.ServerUrl = options.DEFAULT_URL, api_key: options.ApiKey = None
) -> None:
    """End a job for good."""
    from winnow.client import Client

    with Client(url, api_key) as client:
        print(f"{job_id} is {client.cancel_job(job_id).status}")


@app.command()
def pause(
    job_id: JobId, url: options.ServerUrl = options.DEFAULT_URL, api_key: options.ApiKey = None
) -> None:
    """Stop a job at a checkpoint; its worker is free for others."""
    from winnow.client import Client

    with Client(url, api_key) as client:
        print(f"{job_id} is {client.pause_job(job_id).status}")


@app.command()
def resume(
    job_id: JobId, url: options.ServerUrl = options.DEFAULT_URL, api_key: options.ApiKey = None
) -> None:
    """Go on with a job that was paused."""
    from winnow.client import Client

    with Client(url, api_key) as client:
        print(f"{job_id} is {client.resume_job(job_id).status}")


def _steps(job: FineTune) -> str:
    total = job.winnow.total_steps
    return "" if total is None else f"{job.winnow.step}/{total}"
