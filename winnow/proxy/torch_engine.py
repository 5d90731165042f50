"""Losses of a Hugging Face causal language model with torch, on CPU or one GPU.

How it is fast: spans are computed longest first in batches of a token budget (`winnow.proxy.batching`); the trunk runs
once over a batch, the LM head only where a token is scored, a tile at a time (`winnow.proxy.head_loss`). How it is
exact: padding stands where causal attention never looks, log-sum-exp is float32 whatever the weights are, and a span's
sum is float64.

How it is the same everywhere: on a CPU `threads` lanes compute whole batches, each on a single thread, so no number
depends on how many lanes there are. (Two lanes of one thread are also faster than one of two.) A GPU has one lane,
which only queues its work: while the caller waits for the losses of a batch, later batches queue up behind it.

When memory runs out, what is not done is planned anew with half the tokens of the batch that did not fit.

Some models scale or cap their logits behind the head (Gemma 2, Cohere, Granite). A probe at load finds them, and they
are computed by their own forward pass.

Not covered: more than one GPU (start a worker on each).

A tensor's name ends in its shape: B spans, T tokens, N scored tokens, D the width of the trunk, V the vocabulary.
"""
# ruff: noqa: N803, N806, N815

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch.nn import functional

from winnow.errors import EngineError, InvalidOption
from winnow.proxy import models
from winnow.proxy.batching import plan
from winnow.proxy.engine import Span, SpanLoss
from winnow.proxy.head_loss import head_losses
from winnow.proxy.padding import FlatSpans, Ids, PaddedBatch
from winnow.proxy.tokenizer import HFTokenizer
from winnow.proxy.torch_model import (
    DTYPES,
    has_plain_head,
    load_model,
    multiplies_bfloat16,
    use_fast_activations,
)
from winnow.proxy.window import positions
from winnow.spec import Dtype

Device = Literal["auto", "cpu", "cuda"]

MEMORY_MESSAGES = (
    "can't allocate memory",
    "not enough memory",
    "CUDA error: out of memory",
    "ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",
)
"""What torch says when memory runs out without an exception of its own: CPU on Linux, on Windows, libraries of CUDA."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Queued:
    """Losses of a batch that are on their way: `ready` None means that they have arrived."""

    batch: PaddedBatch
    losses_N: torch.Tensor
    ready: torch.cuda.Event | None

    def losses(self) -> list[SpanLoss]:
        if self.ready is not None:
            self.ready.synchronize()
        return self.batch.losses(self.losses_N.numpy())


class TorchEngine:
    """Implements `winnow.proxy.engine.Engine` for the model in a folder."""

    def __init__(
        self,
        path: Path,
        *,
        dtype: Dtype = "float32",
        device: Device = "auto",
        threads: int | None = None,
        token_budget: int = 1024,
    ) -> None:
        """Load the model; `threads` None means every core, and a GPU needs no more than one.

        Raises:
            ModelError: the folder holds no causal language model that can be loaded without running its code.
            InvalidOption: `device` is not on this machine.
            EngineError: the model does not fit into the memory of the device.
        """
        self.path = path
        self.device = _device(device)
        self.dtype = dtype
        self.token_budget = token_budget
        with models.unchanged(path) as self.revision:
            self.tokenizer = HFTokenizer(path)
            try:
                self._model = load_model(path, DTYPES[dtype]).to(self.device)
            except torch.OutOfMemoryError as error:
                raise EngineError(
                    f"The model in {path} does not fit into the GPU's memory."
                ) from error
        use_fast_activations(self._model)
        self.window = positions(self._model.config)
        self._trunk = self._model.base_model
        self._head = self._model.get_output_embeddings()
        self._vocabulary = len(self._model.get_input_embeddings().weight)
        self.projects_scored_only = has_plain_head(self._model, self.window)
        self._lanes = self._start_lanes(threads or _num_cores())
        if dtype == "bfloat16" and not multiplies_bfloat16(self.device):
            _log.warning(
                "This machine's processor has no instructions for bfloat16 and computes it several times slower than "
                "float32. Use dtype=float32 here."
            )

    def losses(
        self,
        spans: Sequence[Span],
        *,
        on_batch: Callable[[int], None],
        on_replan: Callable[[int], None],
    ) -> list[SpanLoss]:
        """The loss of each span, in the order given; both listeners are called in the caller's thread and may raise.

        A token that the tokenizer knows and the model has no embedding for makes its span's loss NaN.

        Raises:
            ValueError: a span is longer than the window, or has nothing to score.
            EngineError: the device has no memory for a single span, or another failure of it.
        """
        for span in spans:
            _check(span, self.window)
        flat = FlatSpans(spans)
        lengths = flat.lengths
        done = {at: _unreadable(spans[at]) for at in flat.beyond(self._vocabulary)}
        if done:
            on_batch(len(done))

        def on_losses(batch: Sequence[int], losses: Sequence[SpanLoss]) -> None:
            done.update(zip(batch, losses, strict=True))
            on_batch(len(done))

        budget = self.token_budget
        while waiting := [at for at in range(len(spans)) if at not in done]:
            planned = plan([lengths[at] for at in waiting], token_budget=budget)
            batches = [[waiting[at] for at in batch] for batch in planned]
            too_large = self._compute(flat, batches, on_losses)
            if too_large is not None:
                budget = self._smaller(budget, [lengths[at] for at in too_large])
                on_replan(budget)
        return [done[at] for at in range(len(spans))]

    def _compute(
        self,
        flat: FlatSpans,
        batches: Sequence[Sequence[int]],
        on_losses: Callable[[Sequence[int], Sequence[SpanLoss]], None],
    ) -> Sequence[int] | None:
        """Tell the losses of each batch; the first one that did not fit into memory ends it and is returned.

        In the order of the plan, whichever lane is ahead, so that what is left to do then depends on no timing.
        """
        running = [self._lanes.submit(self._attempt, flat, batch) for batch in batches]
        try:
            for batch, future in zip(batches, running, strict=True):
                losses = self._result(future)
                if losses is None:
                    return batch
                on_losses(batch, losses)
        finally:
            for future in running:
                future.cancel()
        return None

    def _result(self, future: Future[_Queued | None]) -> list[SpanLoss] | None:
        try:
            queued = future.result()
            return None if queued is None else queued.losses()
        except RuntimeError as error:
            raise EngineError(f"torch failed while it computed losses: {error}") from error

    def _smaller(self, budget: int, lengths: Sequence[int]) -> int:
        """Half the tokens of a batch that did not fit.

        Raises:
            EngineError: the batch was a single span.
        """
        if len(lengths) == 1:
            raise EngineError(
                f"There is no memory for a batch of one span of {lengths[0]} tokens (token_budget is {budget}). Start "
                "the run again with a lower max_length, or on a device with more memory."
            )
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return max(lengths) * len(lengths) // 2

    def _start_lanes(self, threads: int) -> ThreadPoolExecutor:
        if self.device.type == "cuda":
            return ThreadPoolExecutor(1, "winnow-lane")
        # The number of threads inside an operation is a setting of the thread that starts the operation.
        return ThreadPoolExecutor(
            threads, "winnow-lane", initializer=torch.set_num_threads, initargs=(1,)
        )

    def _attempt(self, flat: FlatSpans, batch: Sequence[int]) -> _Queued | None:
        """The losses of a batch, or None if memory ran out."""
        try:
            return self._queue(flat.batch(batch))
        except (RuntimeError, MemoryError) as error:
            # It ends here: its traceback holds tensors of the failed batch, and the next attempt needs their memory.
            if _is_out_of_memory(error):
                return None
            raise

    @torch.inference_mode()
    def _queue(self, batch: PaddedBatch) -> _Queued:
        losses_N = self._token_losses(
            self._send(batch.ids_BT), self._send(batch.flat_N), self._send(batch.targets_N)
        )
        if self.device.type == "cpu":
            return _Queued(batch=batch, losses_N=losses_N, ready=None)
        arrived_N = torch.empty(losses_N.shape, dtype=losses_N.dtype, pin_memory=True)
        arrived_N.copy_(losses_N, non_blocking=True)
        ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
        ready.record()
        return _Queued(batch=batch, losses_N=arrived_N, ready=ready)

    def _send(self, ids: Ids) -> torch.Tensor:
        tensor = torch.from_numpy(ids)
        if self.device.type == "cpu":
            return tensor
        # From pinned memory a copy does not make the host wait; torch keeps the memory until it is done.
        return tensor.pin_memory().to(self.device, non_blocking=True)

    def _token_losses(
        self, ids_BT: torch.Tensor, flat_N: torch.Tensor, targets_N: torch.Tensor
    ) -> torch.Tensor:
        """The float32 loss of each scored token, on the device."""
        if not self.projects_scored_only:
            logits_BTV = self._model(input_ids=ids_BT, use_cache=False).logits
            logits_NV = logits_BTV.flatten(0, 1).index_select(0, flat_N).float()
            return functional.cross_entropy(logits_NV, targets_N, reduction="none")
        hidden_BTD = self._trunk(input_ids=ids_BT, use_cache=False).last_hidden_state
        return head_losses(self._head, hidden_BTD.flatten(0, 1).index_select(0, flat_N), targets_N)


def _unreadable(span: Span) -> SpanLoss:
    return SpanLoss(nll=math.nan, num_tokens=len(span.tokens) - span.start)


def _check(span: Span, window: int) -> None:
    if len(span.tokens) > window:
        raise ValueError(f"a span of {len(span.tokens)} tokens does not fit a window of {window}")
    if not 1 <= span.start < len(span.tokens):
        raise ValueError(
            f"a span of {len(span.tokens)} tokens from {span.start} on has none to score"
        )


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(
        message in str(error) for message in MEMORY_MESSAGES
    )


def _device(name: Device) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise InvalidOption("device=cuda: torch finds no GPU on this machine.", param="device")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def _num_cores() -> int:
    """Cores that this process may use, which in a container are fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
