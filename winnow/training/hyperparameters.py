"""What `"auto"` means: batch size, epochs and learning rate from the rows, the adapter and the size of the model.

    epochs          3
    batch size      0.2 % of the rows, at least 8 and at most 64
    learning rate   a base rate times `learning_rate_multiplier`:

                        parameters      LoRA    all weights
                        below 70 M      2e-3    2e-4
                        below 1 B       5e-4    5e-5
                        from 1 B up     2e-4    2e-5

Where `learning_rate` is given it is the rate, and auto means 2e-5 from 70 M parameters up; below, it is the largest of
a few at which the loss clearly falls when they are tried (`winnow.training.learning_rate`).

The schedule is linear warm-up over the first 3 % of the steps, then a cosine to zero; AdamW without weight decay,
gradients clipped at norm 1. No model framework is imported.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import orjson

from winnow.errors import InvalidOption
from winnow.training.spec import Adapter, FineTuneSpec

EPOCHS = 3
WARMUP_SHARE = 0.03
BATCH_SHARE = 0.002
SMALLEST_BATCH, LARGEST_BATCH = 8, 64
SMALL_MODEL = 70e6
SAFE_RATE = 2e-5
"""What auto means for a model that is not small."""

_BASE_RATES: tuple[tuple[float, dict[Adapter, float]], ...] = (
    (SMALL_MODEL, {"lora": 2e-3, "none": 2e-4}),
    (1e9, {"lora": 5e-4, "none": 5e-5}),
    (math.inf, {"lora": 2e-4, "none": 2e-5}),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateTried:
    """A learning rate, and the mean loss of the rows held out, in nats, after its try; None: not a number."""

    learning_rate: float
    loss: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RateChoice:
    """The learning rate that was chosen, and why: the loss of the rows held out before any try, and after each."""

    learning_rate: float
    loss_before: float
    tried: tuple[RateTried, ...]

    def write(self, path: Path) -> None:
        """Keep it, since a job that is resumed goes on at its rate."""
        path.write_bytes(orjson.dumps(self))

    @classmethod
    def read(cls, path: Path) -> Self:
        """What was kept."""
        values = orjson.loads(path.read_bytes())
        return cls(**values | {"tried": tuple(RateTried(**one) for one in values["tried"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """What is trained with, nothing left to choose; `batch_size` counts the rows of a step, over all processes.

    `rate_choice`: what the learning rate was chosen from, if it was.
    """

    n_epochs: int
    batch_size: int
    learning_rate_multiplier: float
    learning_rate: float
    total_steps: int
    dtype: Literal["float32", "bfloat16"]
    template: str
    max_length: int
    rate_choice: RateChoice | None = None

    def with_choice(self, choice: RateChoice) -> Hyperparameters:
        """The same, with a rate that was chosen."""
        return replace(self, learning_rate=choice.learning_rate, rate_choice=choice)

    def as_dict(self) -> dict[str, Any]:
        """As plain values, for JSON; without a choice that there was not."""
        values = asdict(self)
        if self.rate_choice is None:
            del values["rate_choice"]
        return values


def resolve(
    spec: FineTuneSpec,
    *,
    num_sequences: int,
    num_parameters: int,
    dtype: Literal["float32", "bfloat16"],
    template: str,
    max_length: int,
) -> Hyperparameters:
    """Settle what the spec leaves open, but for a rate that `is_tried`, in whose place `SAFE_RATE` stands.

    Raises:
        InvalidOption: the batch cannot be divided among the processes.
    """
    batch_size = _batch_size(spec, num_sequences)
    n_epochs = EPOCHS if spec.n_epochs == "auto" else spec.n_epochs
    multiplier = 1.0 if spec.learning_rate_multiplier == "auto" else spec.learning_rate_multiplier
    return Hyperparameters(
        n_epochs=n_epochs,
        batch_size=batch_size,
        learning_rate_multiplier=multiplier,
        learning_rate=_rate(spec, num_parameters, multiplier),
        total_steps=n_epochs * math.ceil(num_sequences / batch_size),
        dtype=dtype,
        template=template,
        max_length=max_length,
    )


def is_tried(spec: FineTuneSpec, num_parameters: int) -> bool:
    """Whether the learning rate is to be chosen by trying a few."""
    return spec.learning_rate == "auto" and num_parameters < SMALL_MODEL


def _rate(spec: FineTuneSpec, num_parameters: int, multiplier: float) -> float:
    if spec.learning_rate is None:
        return base_rate(spec.adapter, num_parameters) * multiplier
    return SAFE_RATE if spec.learning_rate == "auto" else spec.learning_rate


def base_rate(adapter: Adapter, num_parameters: int) -> float:
    """The learning rate that a model of this size calls for."""
    return next(rates[adapter] for below, rates in _BASE_RATES if num_parameters < below)


def _batch_size(spec: FineTuneSpec, num_sequences: int) -> int:
    if spec.batch_size == "auto":
        rows = min(LARGEST_BATCH, max(SMALLEST_BATCH, round(BATCH_SHARE * num_sequences)))
        return math.ceil(rows / spec.processes) * spec.processes
    if spec.batch_size % spec.processes:
        raise InvalidOption(
            f"batch_size={spec.batch_size} cannot be divided among {spec.processes} processes. "
            f"Give a multiple of {spec.processes}.",
            param="batch_size",
        )
    return spec.batch_size
