"""Losses and embeddings of a Hugging Face causal language model with torch, on CPU or one GPU.

How it is fast: spans are computed longest first in batches of a token budget (`winnow.proxy.batching`), on lanes
(`winnow.proxy.lanes`); the trunk runs once over a batch, the LM head only where a token is scored, a tile at a time
(`winnow.proxy.head_loss`). How it is exact: padding stands where causal attention never looks, log-sum-exp is float32
whatever the weights are, and a span's sum is float64. How it is the same everywhere: batches are a pure function of
the spans, and a lane of a CPU has one thread.

Some models scale or cap their logits behind the head (Gemma 2, Cohere, Granite). A probe at load finds them, and they
are computed by their own forward pass.

A text's embedding is the mean over its tokens of what the trunk leaves of each.

Not covered: more than one GPU (start a worker on each).

A tensor's name ends in its shape: B spans, T tokens, N scored tokens, D the width of the trunk, V the vocabulary.
"""
# ruff: noqa: N806

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from winnow.errors import EngineError, InvalidOption
from winnow.proxy import models
from winnow.proxy.engine import Span, SpanLoss, check_spans
from winnow.proxy.head_loss import head_losses
from winnow.proxy.lanes import Batch, Lanes, Queued
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
from winnow.spec import PROXY_EMBEDDINGS, Dtype

Device = Literal["auto", "cpu", "cuda"]
Vector = npt.NDArray[np.float32]

CHARS_PER_TOKEN = 64
"""A text is embedded by its first tokens: as many as the window has, and of so many characters each at most."""

_log = logging.getLogger(__name__)


class TorchEngine:
    """Implements `winnow.proxy.engine.Engine`, and `Embedder`, for the model in a folder."""

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
        self._lanes = Lanes(self.device, threads)
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
        check_spans(spans, self.window)
        flat = FlatSpans(spans)
        done = {at: _unreadable(spans[at]) for at in flat.beyond(self._vocabulary)}
        if done:
            on_batch(len(done))

        @torch.inference_mode()
        def queue(batch: Batch) -> Queued[SpanLoss]:
            padded = flat.batch(batch)
            return Queued.send(self._token_losses(padded), padded.losses)

        return self._lanes.compute(
            queue,
            flat.lengths,
            token_budget=self.token_budget,
            done=done,
            on_batch=on_batch,
            on_replan=on_replan,
        )

    @property
    def name(self) -> str:
        """What its embeddings are called."""
        return PROXY_EMBEDDINGS

    def embed(self, texts: Sequence[str], *, on_batch: Callable[[int], None]) -> Vector:
        """The mean-pooled last hidden states of each text cut to the window, of shape (texts, D).

        A text without a token that the model has is all NaN.

        Raises:
            EngineError: the device has no memory for a single text, or another failure of it.
        """
        ids = self.tokenizer.encode([text[: self.window * CHARS_PER_TOKEN] for text in texts])
        # A span's last token is predicted and never read: one more makes it read all of the text's.
        flat = FlatSpans([Span(tokens=[*tokens[: self.window], 0], start=1) for tokens in ids])
        absent = np.full(self._width(), np.nan, dtype=np.float32)
        unreadable = {
            *flat.beyond(self._vocabulary),
            *(at for at, one in enumerate(ids) if not one),
        }

        @torch.inference_mode()
        def queue(batch: Batch) -> Queued[Vector]:
            return Queued.send(self._means(flat.batch(batch)), list)

        found = self._lanes.compute(
            queue,
            flat.lengths,
            token_budget=self.token_budget,
            done=dict.fromkeys(unreadable, absent),
            on_batch=on_batch,
            on_replan=lambda _: None,
        )
        return np.stack(found) if found else np.empty((0, len(absent)), dtype=np.float32)

    def _send(self, ids: Ids) -> torch.Tensor:
        tensor = torch.from_numpy(ids)
        if self.device.type == "cpu":
            return tensor
        # From pinned memory a copy does not make the host wait; torch keeps the memory until it is done.
        return tensor.pin_memory().to(self.device, non_blocking=True)

    def _token_losses(self, batch: PaddedBatch) -> torch.Tensor:
        """The float32 loss of each scored token, on the device."""
        flat_N, targets_N = self._send(batch.flat_N), self._send(batch.targets_N)
        if not self.projects_scored_only:
            logits_BTV = self._model(input_ids=self._send(batch.ids_BT), use_cache=False).logits
            logits_NV = logits_BTV.flatten(0, 1).index_select(0, flat_N).float()
            return functional.cross_entropy(logits_NV, targets_N, reduction="none")
        hidden_BTD = self._hidden(batch)
        return head_losses(self._head, hidden_BTD.flatten(0, 1).index_select(0, flat_N), targets_N)

    def _means(self, batch: PaddedBatch) -> torch.Tensor:
        """The mean of each span's hidden states, float32, of shape B x D, on the device."""
        hidden_BTD = self._hidden(batch).float()
        counts_B1 = self._send(batch.counts_B)[:, None]
        padding_BT = torch.arange(hidden_BTD.shape[1], device=self.device) >= counts_B1
        return hidden_BTD.masked_fill(padding_BT[..., None], 0).sum(1) / counts_B1

    def _hidden(self, batch: PaddedBatch) -> torch.Tensor:
        ids_BT = self._send(batch.ids_BT)
        hidden_BTD: torch.Tensor = self._trunk(input_ids=ids_BT, use_cache=False).last_hidden_state
        return hidden_BTD

    @torch.inference_mode()
    def _width(self) -> int:
        """D, which not every configuration states: some models project what the trunk leaves."""
        one_BT = torch.zeros((1, 1), dtype=torch.int64, device=self.device)
        return int(self._trunk(input_ids=one_BT, use_cache=False).last_hidden_state.shape[-1])


def _unreadable(span: Span) -> SpanLoss:
    return SpanLoss(nll=math.nan, num_tokens=len(span.tokens) - span.start)


def _device(name: Device) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise InvalidOption("device=cuda: torch finds no GPU on this machine.", param="device")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)
