"""What `"auto"` means: batch size, epochs and learning rate from the rows, the adapter and the size of the model.

    epochs          3
    batch size      0.2 % of the rows, at least 8 and at most 64
    learning rate   a base rate times `learning_rate_multiplier`:

                        parameters      LoRA    all weights
                        below 70 M      2e-3    2e-4
                        below 1 B       5e-4    5e-5
                        from 1 B up     2e-4    2e-5

The schedule is linear warm-up over the first 3 % of the steps, then a cosine to zero; AdamW without weight decay,
gradients clipped at norm 1. No model framework is imported.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from winnow.errors import InvalidOption
from winnow.training.spec import Adapter, FineTuneSpec

EPOCHS = 3
WARMUP_SHARE = 0.03
BATCH_SHARE = 0.002
SMALLEST_BATCH, LARGEST_BATCH = 8, 64

_BASE_RATES: tuple[tuple[float, dict[Adapter, float]], ...] = (
    (70e6, {"lora": 2e-3, "none": 2e-4}),
    (1e9, {"lora": 5e-4, "none": 5e-5}),
    (math.inf, {"lora": 2e-4, "none": 2e-5}),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """What is trained with, nothing left to choose; `batch_size` counts the rows of a step, over all processes."""

    n_epochs: int
    batch_size: int
    learning_rate_multiplier: float
    learning_rate: float
    total_steps: int
    dtype: Literal["float32", "bfloat16"]
    template: str
    max_length: int


def resolve(
    spec: FineTuneSpec,
    *,
    num_sequences: int,
    num_parameters: int,
    dtype: Literal["float32", "bfloat16"],
    template: str,
    max_length: int,
) -> Hyperparameters:
    """Settle what the spec leaves open.

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
        learning_rate=base_rate(spec.adapter, num_parameters) * multiplier,
        total_steps=n_epochs * math.ceil(num_sequences / batch_size),
        dtype=dtype,
        template=template,
        max_length=max_length,
    )


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
