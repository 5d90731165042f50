"""`winnow trajectories`: the fine-tunes that runs of a service watch, looked at, fetched, cancelled and taken away."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import options

if TYPE_CHECKING:
    from winnow.client.values import Trajectory

app = typer.Typer(
    name="trajectories",
    help="List, show, fetch, cancel and delete the trajectories of learning_percentage and s2l.",
    no_args_is_help=True,
)

TrajectoryId = Annotated[
    str, typer.Argument(metavar="TRAJECTORY", help="Id of the trajectory: traj_...")
]


@app.command("list")
def list_all(
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 20,
    url: options.ServerUrl = options.DEFAULT_URL,
    api_key: options.ApiKey = None,
) -> None:
    """List your trajectories, the newest first: status, checkpoints evaluated, model and dataset."""
    from winnow.client import Client

    with Client(url, api_key) as client:
        for one in islice(client.trajectories(), limit):
            made = datetime.fromtimestamp(one.created_at, UTC).strftime("%Y-%m-%d %H:%M")
            print(
                f"{one.id}  {made}  {one.status:<10}  {_progress(one):>7}  {one.model}  {one.dataset}"
            )


@app.command()
def show(
    trajectory_id: TrajectoryId,
    url: options.ServerUrl = options.DEFAULT_URL,
    api_key: options.ApiKey = None,
) -> None:
    """Show one trajectory: how far it is, what it waits for, and the mean loss at each checkpoint."""
    from winnow.client import Client

    with Client(url, api_key) as client:
        found = client.trajectory(trajectory_id)
    training = found.training
    steps = training and training.total_steps and f"step {training.step} of {training.total_steps}"
    facts = {
        "status": found.status,
        "training": steps,
        "evaluated": f"{_progress(found)} checkpoints",
        "waits for": found.waits_for,
        "error": found.error and found.error.message,
        "model": found.model,
        "dataset": found.dataset,
        "options": "  ".join(f"{name} {value}" for name, value in found.options.items()),
    }
    print(found.id)
    for name, value in facts.items():
        if value:
            print(f"  {name:<10} {value}")
    for one in found.checkpoints:
        loss = "" if one.mean_loss is None else f"loss {one.mean_loss:.4f}"
        epoch = "" if one.epoch is None else f"epoch {one.epoch}"
        print(f"  step {one.step:>8}  {epoch:<8}  {loss}")


@app.command()
def losses(
    trajectory_id: TrajectoryId,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="Suffix .parquet, .jsonl or .csv."),
    ],
    url: options.ServerUrl = options.DEFAULT_URL,
    api_key: options.ApiKey = None,
) -> None:
    """Write the loss of every row at every checkpoint."""
    from cli.output import check_writable, format_of
    from cli.report import say
    from winnow.client import Client

    format_of(output, ("parquet", "jsonl", "csv"), param="--output")
    check_writable(output, inputs=(), param="--output")
    with Client(url, api_key) as client:
        client.download_losses(output, trajectory_id)
    say(f"losses of every row in {output}")


@app.command()
def cancel(
    trajectory_id: TrajectoryId,
    url: options.ServerUrl = options.DEFAULT_URL,
    api_key: options.ApiKey = None,
) -> None:
    """End a trajectory, and the runs that wait for it."""
    from winnow.client import Client

    with Client(url, api_key) as client:
        print(f"{trajectory_id} is {client.cancel_trajectory(trajectory_id).status}")


@app.command()
def delete(
    trajectory_id: TrajectoryId,
    url: options.ServerUrl = options.DEFAULT_URL,
    api_key: options.ApiKey = None,
) -> None:
    """Take a trajectory, its losses and its kept weights away; runs that have read it keep their scores."""
    from winnow.client import Client

    with Client(url, api_key) as client:
        client.delete_trajectory(trajectory_id)
    print(f"{trajectory_id} is deleted")


def _progress(found: Trajectory) -> str:
    total = found.counts.checkpoints
    return f"{found.counts.checkpoints_done}/{'?' if total is None else total}"
