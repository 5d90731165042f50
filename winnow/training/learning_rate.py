"""The learning rate of a small model, by trying: the largest of a few at which the loss clearly falls.

A try takes a few dozen steps on a copy of the model, at one of `RATES` after a short warm-up, on rows drawn by the
job's seed. Other rows are held out of every try; their losses before and after it say whether the loss clearly falls:

    their mean falls by at least `CLEAR_SHARE`, and the losses of at least `CLEAR_ROWS` of the rows fall

(At a rate that is too large the mean may still fall, by what a few rows gain while half of them get worse.)

The largest rate is tried first, and the first one that passes is taken. Where none does, there is little to learn, and
the rate is that of large models. Equal rows, seed and model give equal choices on one kind of machine.

A try reads about `TRY_TOKENS` however long the rows are, so the time it takes is bounded by the size of the model: on
one core less than half a minute with the bundled one.

Not covered: a rate that is too large only later than a try is long. The warm-up of the job and its cosine are in its
favour.

The name of a tensor ends in its shape: B rows, T tokens, V the vocabulary.
"""
# ruff: noqa: N806

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from datasets import Dataset
from torch.nn import functional

from winnow.proxy.batching import plan
from winnow.training.encode import IGNORED
from winnow.training.hyperparameters import SAFE_RATE, RateChoice, RateTried

RATES = (1e-3, 3e-4, 1e-4, 3e-5)

NUM_ROWS = 2000
MIN_STEPS, MAX_STEPS = 8, 24
WARM_UP_STEPS = 4
TRY_TOKENS = 16_384
HELD_OUT_SHARE = 0.2
MAX_HELD_OUT, HELD_OUT_TOKENS = 64, 8_192
CLEAR_SHARE, CLEAR_ROWS = 0.02, 0.75
MICRO_BATCH_TOKENS = 1024

Losses = npt.NDArray[np.float64]


class Row(NamedTuple):
    """Ids and labels of a sequence."""

    input_ids: list[int]
    labels: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What the rates are tried on: the rows of each step, and rows that no step sees."""

    steps: Sequence[Sequence[Row]]
    held_out: Sequence[Row]

    @classmethod
    def draw(cls, dataset: Dataset, *, batch_size: int, seed: int) -> Self:
        """From at most `NUM_ROWS` of the sequences; one that is alone is both trained on and measured."""
        chosen = np.random.default_rng(seed).permutation(len(dataset))[:NUM_ROWS]
        columns = dataset[chosen.tolist()]
        rows = [Row(*row) for row in zip(columns["input_ids"], columns["labels"], strict=True)]
        mean_length = sum(len(row.input_ids) for row in rows) / len(rows)
        fitting = min(MAX_HELD_OUT, int(HELD_OUT_TOKENS / mean_length))
        num_held_out = max(1, min(fitting, int(HELD_OUT_SHARE * len(rows))))
        trained = rows[num_held_out:] or rows
        step_rows = max(1, min(batch_size, len(trained), int(TRY_TOKENS / MAX_STEPS / mean_length)))
        num_steps = min(MAX_STEPS, max(MIN_STEPS, len(trained) // step_rows))
        stream = cycle(trained)
        steps = [list(islice(stream, step_rows)) for _ in range(num_steps)]
        return cls(steps=steps, held_out=rows[:num_held_out])


def choose_rate(
    model: Any,
    sample: Sample,
    *,
    seed: int,
    dtype: Literal["float32", "bfloat16"],
    on_batch: Callable[[], None],
    rates: Sequence[float] = RATES,
) -> RateChoice:
    """Try the rates, largest first; the model stays as it is. `on_batch` hears of every micro-batch."""
    probe = _Probe(sample=sample, seed=seed, dtype=dtype, on_batch=on_batch)
    before = probe.measure(model)
    tried: list[RateTried] = []
    chosen = SAFE_RATE
    for rate in rates:
        after = probe.losses_after(copy.deepcopy(model), rate)
        loss = float(after.mean())
        tried.append(RateTried(learning_rate=rate, loss=loss if math.isfinite(loss) else None))
        if clearly_falls(before, after):
            chosen = rate
            break
    return RateChoice(learning_rate=chosen, loss_before=float(before.mean()), tried=tuple(tried))


def clearly_falls(before: Losses, after: Losses) -> bool:
    """Whether the losses of rows are lower after than before, on the whole and of most; not if one is no number."""
    fall = before - after
    return bool(fall.mean() >= CLEAR_SHARE * before.mean() and (fall > 0).mean() >= CLEAR_ROWS)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Probe:
    sample: Sample
    seed: int
    dtype: Literal["float32", "bfloat16"]
    on_batch: Callable[[], None]

    def losses_after(self, model: Any, rate: float) -> Losses:
        """The losses of the rows held out once `model` has taken its steps at `rate`; NaN if it broke off."""
        torch.manual_seed(self.seed)
        optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min(1.0, (step + 1) / WARM_UP_STEPS)
        )
        model.train()
        for rows in self.sample.steps:
            num_learned = sum(label != IGNORED for row in rows for label in row.labels)
            for _, losses_BT in self._batches(model, rows):
                (losses_BT.sum() / num_learned).backward()  # type: ignore[no-untyped-call]
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            if not norm.isfinite():
                return np.full(len(self.sample.held_out), np.nan)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
        return self.measure(model)

    @torch.no_grad()
    def measure(self, model: Any) -> Losses:
        """The mean loss of each row held out, in nats."""
        model.eval()
        rows = self.sample.held_out
        nll = np.zeros(len(rows))
        for positions, losses_BT in self._batches(model, rows):
            nll[positions] = losses_BT.double().sum(dim=1).cpu().numpy()
        num_learned = [sum(label != IGNORED for label in row.labels) for row in rows]
        return np.asarray(nll / num_learned)

    def _batches(self, model: Any, rows: Sequence[Row]) -> Iterator[tuple[list[int], torch.Tensor]]:
        """Positions in `rows` and their tokens' losses, a micro-batch at a time; 0 where none is learned."""
        lengths = [len(row.input_ids) for row in rows]
        for positions in plan(lengths, token_budget=MICRO_BATCH_TOKENS):
            batch = [rows[at] for at in positions]
            yield positions, self._losses(model, batch)
            self.on_batch()

    def _losses(self, model: Any, batch: Sequence[Row]) -> torch.Tensor:
        # Any id pads: what stands to the right of a row is never looked at, and its label is ignored.
        ids_BT = _padded([row.input_ids for row in batch], 0, model.device)
        labels_BT = _padded([row.labels for row in batch], IGNORED, model.device)[:, 1:]
        coarse = self.dtype == "bfloat16"
        with torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=coarse):
            logits_BTV = model(input_ids=ids_BT, use_cache=False).logits[:, :-1]
        flat = functional.cross_entropy(
            logits_BTV.flatten(0, 1).float(),
            labels_BT.flatten(),
            ignore_index=IGNORED,
            reduction="none",
        )
        return flat.view_as(labels_BT)


def _padded(rows: Sequence[list[int]], filler: int, device: torch.device) -> torch.Tensor:
    tensors = [torch.tensor(row, device=device) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=filler)
