"""What the training subprocess says, one line of JSON on its standard output for each event.

In order: `Prepared` once; then `Step`, `Evaluated`, `Kept` and `Saved` as they happen; last exactly one of `Done`,
`Stopped`, `Failed` and `Crashed`. `Alive` comes anywhere between. A subprocess that ends without one of those four was
killed. After a resume the steps that were lost are said again, with the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The rows are encoded and everything automatic is settled; training begins after `resumed_from` steps.

    `hyperparameters` are n_epochs, batch_size, learning_rate_multiplier, learning_rate and the like, as plain values.
    `trained_tokens_planned` counts every token read, once for each epoch. `validation_rejected` counts the rows of the
    validation file that nothing can be measured on, by reason; `answers_cut` the training rows whose answer did not fit
    the window whole.
    """

    rows_used: int
    rows_rejected: int
    rejected_by_reason: Mapping[str, int]
    validation_rejected: Mapping[str, int]
    answers_cut: int
    total_steps: int
    resumed_from: int
    trained_tokens_planned: int
    hyperparameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """An optimiser step; at most about two a second are said, and always the last.

    `loss` is that step's mean over its scored tokens in nats. `tokens_per_s` and `eta_s` count every token read.
    """

    step: int
    total_steps: int
    epoch: float
    loss: float
    learning_rate: float
    tokens_per_s: float
    trained_tokens: int
    eta_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """Mean loss over the scored tokens of the validation rows, in nats."""

    step: int
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """The checkpoint in `folder`, relative to the job's folder, is complete; it stays until two newer ones are."""

    step: int
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The model after `step`, of a trajectory, is complete in `folder`, relative to the job's folder.

    It stays until whoever has read it deletes it, and is said before the `Saved` of the same step. `epoch`: how many
    are over, at the end of one; `point`: it is one of the evenly spaced ones. After a resume it may be said again.
    """

    step: int
    epoch: int | None
    point: bool
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The result folder is complete, or the last checkpoint of a trajectory kept; `metrics` as in metrics.json."""

    trained_tokens: int
    metrics: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """It ended because it was asked to; the checkpoint of `step` is complete (0: nothing was trained yet)."""

    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """It cannot go on for a reason that the user can change: `message` says what, `param` names the option.

    `code` is one of out_of_memory, non_finite_loss, no_usable_rows, invalid_option, or the code of another
    `winnow.errors.WinnowError`. Starting again with the same options fails again.
    """

    code: str
    message: str
    param: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Crashed:
    """An error nobody foresaw ended it; `message` is its type and first line, log.txt has the traceback.

    Starting again may help.
    """

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """Work goes on where a long time passes between the other events; at most one every few seconds.

    `phase` is one of encoding, learning_rate, training, evaluation, merge.
    """

    phase: str


TrainingEvent = (
    Prepared | Step | Evaluated | Kept | Saved | Done | Stopped | Failed | Crashed | Alive
)

_NAMES: dict[str, type[TrainingEvent]] = {
    kind.__name__.lower(): kind
    for kind in (Prepared, Step, Evaluated, Kept, Saved, Done, Stopped, Failed, Crashed, Alive)
}


def render(event: TrainingEvent) -> bytes:
    """The event as a line."""
    return orjson.dumps({"event": type(event).__name__.lower()} | asdict(event)) + b"\n"


def parse(line: bytes) -> TrainingEvent | None:
    """The event of a line; None for anything else that was written."""
    try:
        values = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(values, dict) or values.get("event") not in _NAMES:
        return None
    return _NAMES[values.pop("event")](**values)
