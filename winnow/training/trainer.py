"""TRL's SFT trainer over our ids and labels, a whole optimiser step at a time.

TRL is given `input_ids` and `labels`, so it renders, tokenises and adds nothing. Ours is how a step is computed:

* The rows of a step come as one batch and are split into micro-batches of a token budget, longest first
  (`winnow.proxy.batching`), so memory is bounded by the budget however long a row or large a batch is. Where memory
  runs out all the same, the step is computed again with half the budget.
* A step's loss is the sum of the losses of its learned tokens over their number, over all micro-batches and processes,
  so neither how rows are split nor how many processes there are changes what is learned.
* Packed, a micro-batch is its rows end to end, each with positions of its own, and no position is padding. The loss is
  the same. It takes an attention that keeps such rows apart; `keeps_rows_apart` finds out.
* With several processes every one takes its share of each step's rows. Where the last step of an epoch has too few,
  accelerate hands out rows from the beginning once more; they are cut off again, since they are no part of the step.

The name of a tensor ends in its shape: B rows, T tokens.
"""
# ruff: noqa: N803, N806

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from itertools import islice
from typing import Any

import torch
from datasets import Dataset
from trl import SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from winnow.errors import OutOfMemory
from winnow.proxy.batching import plan
from winnow.training.encode import IGNORED

Batch = dict[str, torch.Tensor]


class CompletionTrainer(SFTTrainer):  # type: ignore[misc]
    """Trains on batches that are whole optimiser steps: `gradient_accumulation_steps` is 1."""

    def __init__(
        self,
        *,
        token_budget: int,
        packing: bool,
        validation: Dataset | None,
        on_batch: Callable[[str], None],
        **options: Any,
    ) -> None:
        """`on_batch` hears of each batch in which phase it was computed, training or evaluation."""
        # Any id pads: what stands to the right of a row is never looked at, and its label is ignored.
        super().__init__(data_collator=DataCollatorForLanguageModeling(pad_token_id=0), **options)
        self._token_budget = token_budget
        self._packing = packing
        self._validation = validation
        self._on_batch = on_batch
        self._steps_per_epoch = math.ceil(len(self.train_dataset) / self._step_rows)

    @property
    def _step_rows(self) -> int:
        return int(self.args.per_device_train_batch_size * self.args.world_size)

    def get_batch_samples(
        self, epoch_iterator: Iterator[Batch], num_batches: int, device: torch.device
    ) -> tuple[list[Batch], Any]:
        """This process's rows of the next step, and how many tokens all processes learn in it."""
        batches = [self._own_rows(batch) for batch in islice(epoch_iterator, num_batches)]
        num_learned = sum((batch["labels"][:, 1:] != IGNORED).sum() for batch in batches)
        return batches, self.accelerator.reduce(torch.as_tensor(num_learned, device=device), "sum")

    def _own_rows(self, batch: Batch) -> Batch:
        step = self.state.global_step % self._steps_per_epoch
        left = len(self.train_dataset) - step * self._step_rows
        own = left - self.args.process_index * self.args.per_device_train_batch_size
        if own >= len(batch["labels"]):
            return batch
        if own < 1:
            return self._idle({name: values[:1, :2] for name, values in batch.items()})
        return {name: values[:own] for name, values in batch.items()}

    def training_step(
        self, model: Any, inputs: Batch, num_items_in_batch: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Add the gradients of a step; the loss, over all processes' tokens, of this process's rows.

        Raises:
            OutOfMemory: a single row is too much, or another process waits for this one.
        """
        rows, longest = inputs["labels"].shape
        while True:
            try:
                return self._accumulate(model, inputs, num_items_in_batch)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if self._token_budget <= longest or self.args.world_size > 1:
                    raise OutOfMemory(param="max_length") from error
            model.zero_grad()
            torch.cuda.empty_cache()
            self._token_budget = min(self._token_budget, rows * longest) // 2

    def _accumulate(self, model: Any, inputs: Batch, num_items: Any) -> torch.Tensor:
        batches = self._micro_batches(inputs)
        loss = torch.zeros((), device=self.args.device)
        for number, batch in enumerate(batches, start=1):
            last = number == len(batches)
            with nullcontext() if last else self.accelerator.no_sync(model):
                loss += super().training_step(model, batch, num_items)
            self._on_batch("training")
        return loss

    def _micro_batches(self, step: Batch) -> list[Batch]:
        lengths = step["attention_mask"].sum(dim=1).tolist()
        parts = plan(lengths, token_budget=self._token_budget)
        make = self._packed if self._packing else self._padded
        batches = [make(step, rows, lengths) for rows in parts]
        # TRL gathers figures after each micro-batch, so every process must have as many.
        most = int(
            self.accelerator.gather(torch.tensor([len(batches)], device=self.args.device)).max()
        )
        idle = [self._idle(batches[-1]) for _ in range(most - len(batches))]
        return batches + idle

    @staticmethod
    def _padded(step: Batch, rows: Sequence[int], lengths: Sequence[int]) -> Batch:
        longest = max(lengths[row] for row in rows)
        return {name: values_BT[rows, :longest] for name, values_BT in step.items()}

    @staticmethod
    def _packed(step: Batch, rows: Sequence[int], lengths: Sequence[int]) -> Batch:
        def end_to_end(values_BT: torch.Tensor) -> torch.Tensor:
            return torch.cat([values_BT[row, : lengths[row]] for row in rows])[None]

        columns = torch.arange(step["labels"].shape[1], device=step["labels"].device)
        return {
            "input_ids": end_to_end(step["input_ids"]),
            "labels": end_to_end(step["labels"]),
            "position_ids": end_to_end(columns.expand_as(step["labels"])),
        }

    @staticmethod
    def _idle(batch: Batch) -> Batch:
        return batch | {"labels": torch.full_like(batch["labels"], IGNORED)}

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """The mean loss over the learned tokens of the validation rows, in nats per token."""
        if self._validation is None:
            return {}
        self.model.eval()
        totals = torch.zeros(2, dtype=torch.float64, device=self.args.device)
        for batch in self._own_batches(self._validation):
            with torch.no_grad(), self.compute_loss_context_manager():
                outputs = self.model(**batch, use_cache=False, fused_lm_head=True)
            totals += torch.stack([-outputs.log_probs.double().sum(), outputs.label_mask.sum()])
            self._on_batch("evaluation")
        nll, num_tokens = self.accelerator.reduce(totals, "sum").tolist()
        metrics = {"eval_loss": nll / num_tokens}
        self.log(metrics)
        self.model.train()
        self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _own_batches(self, dataset: Dataset) -> Iterator[Batch]:
        own = dataset.shard(self.args.world_size, self.args.process_index)
        lengths = [len(labels) for labels in own["labels"]]
        for rows in plan(lengths, token_budget=self._token_budget):
            batch = self.data_collator([own[row] for row in rows])
            yield {name: values.to(self.args.device) for name, values in batch.items()}

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Nothing: the result has a card of its own, and a checkpoint needs none."""

    def _send_telemetry(self) -> None:
        """Nothing leaves this machine."""


_MEMORY_RAN_OUT = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


def is_out_of_memory(error: Exception) -> bool:
    """Whether it says that memory ran out, of a GPU or, as torch asks for it, of the machine."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        words in str(error) for words in _MEMORY_RAN_OUT
    )


@torch.inference_mode()
def keeps_rows_apart(model: Any) -> bool:
    """Whether rows that lie end to end, told apart by their positions only, have the logits that each has alone."""
    model.eval()
    vocabulary = int(model.config.get_text_config().vocab_size)
    ids_T = (torch.arange(12, device=model.device) * 7919 + 1) % vocabulary
    positions_T = torch.arange(12, device=model.device) % 6
    packed = model(input_ids=ids_T[None], position_ids=positions_T[None], use_cache=False).logits
    alone = model(input_ids=ids_T.view(2, 6), use_cache=False).logits.view_as(packed)
    close = 1e-4 if packed.dtype == torch.float32 else 5e-2
    return float((packed - alone).abs().max()) <= close * max(1.0, float(alone.abs().max()))
