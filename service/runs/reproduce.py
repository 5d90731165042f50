"""How to get the scores of a run again: its options as they are asked for, as commands of a shell and as Python.

Not covered: the address and the key of a service, which are left to the environment of whoever repeats the run, and the
token budget, which is a setting of the installation.
"""

from __future__ import annotations

import shlex
from typing import Any
from urllib.parse import urlencode

from winnow.spec import PROXY_EMBEDDINGS, RunSpec
from winnow.store.datasets import Dataset

NAMELESS = "data.jsonl"
_TRAINING = ("batch_size", "learning_rate", "points")


def asked_options(spec: RunSpec) -> dict[str, Any]:
    """The options of `POST /score` that mean this run; none that its method does not have."""
    options: dict[str, Any] = {
        name: getattr(spec, name)
        for name in ("method", "model", "engine", "dtype", "template", "statistic", "seed")
    }
    if spec.method == "ifd":
        options |= {"convention": spec.convention, "cache": spec.cache}
    if spec.method == "learning_percentage":
        options |= {"epoch": spec.epoch, "compat": spec.compat}
    if spec.trajectory is not None:
        options |= _trajectory(spec)
    embeddings = spec.embeddings or False
    options["embeddings"] = True if embeddings == PROXY_EMBEDDINGS else embeddings
    options |= {"max_length": spec.max_length, "num_clusters": spec.num_clusters}
    return {name: value for name, value in options.items() if value is not None}


def _trajectory(spec: RunSpec) -> dict[str, Any]:
    assert spec.trajectory is not None  # noqa: S101  # asked by the caller
    trajectory = spec.trajectory
    if trajectory.checkpoints is not None:
        # A folder of the operator's machine: its last name is enough to ask for it.
        name = trajectory.checkpoints.rpartition("/")[2]
        return {"n_epochs": trajectory.n_epochs, "checkpoints": name}
    training = {name: getattr(trajectory, name) for name in _TRAINING}
    return {"n_epochs": trajectory.n_epochs, **training}


def as_shell(spec: RunSpec, dataset: Dataset) -> str:
    """Commands that score the same file again, and take a tenth of it."""
    query = urlencode(_texts(_all_options(spec, dataset)))
    file = shlex.quote(f"@{dataset.name or NAMELESS}")
    key = '-H "Authorization: Bearer $WINNOW_API_KEY"'
    return (
        f'curl -sS "$WINNOW_URL/score?{query}" {key} --data-binary {file}\n'
        f'curl -sS "$WINNOW_URL/subsets?run=RUN&ratio=0.1" {key} -o subset.jsonl'
    )


def as_python(spec: RunSpec, dataset: Dataset) -> str:
    """The same, with Winnow's client."""
    options = "".join(
        f"    {name}={value!r},\n" for name, value in _all_options(spec, dataset).items()
    )
    return (
        "import os\n"
        "from winnow.client import Client\n\n"
        'winnow = Client(os.environ["WINNOW_URL"], os.environ.get("WINNOW_API_KEY"))\n'
        f"run = winnow.wait(winnow.score(\n    {dataset.name or NAMELESS!r},\n{options}))\n"
        'winnow.download("subset.jsonl", run=run.id, ratio=0.1)'
    )


def _all_options(spec: RunSpec, dataset: Dataset) -> dict[str, Any]:
    given = {} if dataset.requested_format == "auto" else {"format": dataset.requested_format}
    return asked_options(spec) | given


def _texts(options: dict[str, Any]) -> dict[str, str]:
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in options.items()
    }
