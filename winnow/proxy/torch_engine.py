"""Losses of a Hugging Face causal language model with torch, on CPU or one GPU.

How it is fast: spans are computed longest first in batches of a token budget (`winnow.proxy.batching`); the trunk runs
once over a batch, the LM head only where a token is scored, a few rows at a time, so that no matrix of tokens by
vocabulary is ever held. How it is exact: padding stands to the right of a span, where causal attention never looks, so
there is no mask to get wrong; log-sum-exp is float32 whatever the weights are, and a span's sum is float64.

How it is the same everywhere: on a CPU `threads` lanes compute whole batches, each on a single thread, so no number
depends on how many lanes there are. (Two lanes of one thread are also faster than one of two.)

Some models scale or cap their logits behind the head (Gemma 2, Cohere, Granite). A probe at load finds them, and they
are computed by their own forward pass.

Not covered: more than one GPU (start a worker on each), and models that need code of their own, which is never run.

A tensor's name ends in its shape: B spans, T tokens, N scored tokens, D the width of the trunk, V the vocabulary.
"""
# ruff: noqa: N803, N806

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging as hf_logging

from winnow.errors import EngineError, InvalidOption, ModelError, RevisionMismatch
from winnow.proxy import models
from winnow.proxy.batching import plan
from winnow.proxy.engine import Span, SpanLoss
from winnow.proxy.tokenizer import HFTokenizer
from winnow.spec import Dtype

Device = Literal["auto", "cpu", "cuda"]

DTYPES: dict[Dtype, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
WINDOW_NAMES = ("max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len")
UNBOUNDED_WINDOW = 2048
"""Window of a model that states none, such as one with relative positions."""
CPU_HEAD_ROWS = 128
"""Rows of logits at a time on a CPU: few enough for its caches, enough to read the head's weights seldom."""
CUDA_HEAD_LOGITS = 2**27
"""Logits at a time on a GPU: half a gigabyte of float32."""


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
        """
        self.path = path
        self.revision = models.revision(path)
        self.device = _device(device)
        self.dtype = dtype
        self.token_budget = token_budget
        self.tokenizer = HFTokenizer(path)
        self._model = _load(path, DTYPES[dtype]).to(self.device)
        if models.revision(path) != self.revision:
            raise RevisionMismatch(
                f"The files of {path} changed while they were loaded. Try again."
            )
        self.window = _window(self._model.config)
        self._trunk = self._model.base_model
        self._head = self._model.get_output_embeddings()
        self.projects_scored_only = self._probe()
        self._lanes = self._start_lanes(threads or _num_cores())

    def losses(self, spans: Sequence[Span], *, on_batch: Callable[[int], None]) -> list[SpanLoss]:
        """The loss of each span, in the order given; `on_batch` is called in the caller's thread and may raise.

        Raises:
            ValueError: a span is longer than the window, or has nothing to score.
            EngineError: the device is out of memory, or another failure of it.
        """
        for span in spans:
            _check(span, self.window)
        # The last token of a span is predicted, never read.
        lengths = [len(span.tokens) - 1 for span in spans]
        batches = plan(lengths, token_budget=self.token_budget)
        running = {
            self._lanes.submit(self._batch, [spans[at] for at in batch]): batch for batch in batches
        }
        results: dict[int, SpanLoss] = {}
        try:
            for done in as_completed(running):
                results.update(zip(running[done], self._result(done), strict=True))
                on_batch(len(results))
        finally:
            for future in running:
                future.cancel()
        return [results[at] for at in range(len(spans))]

    def _result(self, done: Future[list[SpanLoss]]) -> list[SpanLoss]:
        try:
            return done.result()
        except torch.OutOfMemoryError as error:
            raise EngineError(
                f"The GPU is out of memory at a token budget of {self.token_budget}. Start the run again with a lower "
                "token_budget or max_length."
            ) from error
        except RuntimeError as error:
            raise EngineError(f"torch failed while it computed losses: {error}") from error

    def _start_lanes(self, threads: int) -> ThreadPoolExecutor:
        if self.device.type == "cuda":
            return ThreadPoolExecutor(1, "winnow-lane")
        # The number of threads inside an operation is a setting of the thread that starts the operation.
        return ThreadPoolExecutor(
            threads, "winnow-lane", initializer=torch.set_num_threads, initargs=(1,)
        )

    @torch.inference_mode()
    def _batch(self, spans: Sequence[Span]) -> list[SpanLoss]:
        ids_BT = self._pad([span.tokens[:-1] for span in spans])
        counts = [len(span.tokens) - span.start for span in spans]
        rows_N = torch.cat([torch.full((count,), row) for row, count in enumerate(counts)])
        columns_N = torch.cat(
            [torch.arange(span.start - 1, len(span.tokens) - 1) for span in spans]
        )
        targets_N = torch.tensor([token for span in spans for token in span.tokens[span.start :]])
        losses = [
            functional.cross_entropy(logits, targets, reduction="none")
            for logits, targets in self._logits(
                ids_BT, *(part.to(self.device) for part in (rows_N, columns_N, targets_N))
            )
        ]
        losses_N = torch.cat(losses).double().cpu()
        return [
            SpanLoss(nll=float(part.sum()), num_tokens=count)
            for part, count in zip(torch.split(losses_N, counts), counts, strict=True)
        ]

    def _logits(
        self,
        ids_BT: torch.Tensor,
        rows_N: torch.Tensor,
        columns_N: torch.Tensor,
        targets_N: torch.Tensor,
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Float32 logits at the scored positions and what follows there, some at a time."""
        if self.projects_scored_only:
            hidden_ND = self._hidden(ids_BT)[rows_N, columns_N]
            size = self._head_rows()
            for hidden, targets in zip(
                torch.split(hidden_ND, size), torch.split(targets_N, size), strict=True
            ):
                yield self._head(hidden).float(), targets
        else:
            logits_BTV = self._model(input_ids=ids_BT, use_cache=False).logits
            yield logits_BTV[rows_N, columns_N].float(), targets_N

    def _head_rows(self) -> int:
        if self.device.type == "cpu":
            return CPU_HEAD_ROWS
        return max(1, CUDA_HEAD_LOGITS // int(self._head.weight.shape[0]))

    def _hidden(self, ids_BT: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self._trunk(input_ids=ids_BT, use_cache=False).last_hidden_state
        return hidden

    def _pad(self, sequences: Sequence[Sequence[int]]) -> torch.Tensor:
        longest = max(len(sequence) for sequence in sequences)
        # Any id will do for padding: nothing that is scored looks at it.
        padded = [[*sequence, *[0] * (longest - len(sequence))] for sequence in sequences]
        return torch.tensor(padded, device=self.device)

    @torch.inference_mode()
    def _probe(self) -> bool:
        """Whether the head over the trunk gives the model's own logits.

        Raises:
            ModelError: a later token changes an earlier one's logits, so this is no causal model.
        """
        vocabulary = int(self._model.config.get_text_config().vocab_size)
        length = min(16, self.window)
        steps = torch.arange(2 * length, device=self.device).reshape(2, length)
        ids_BT = (steps * 7919 + 1) % vocabulary
        ids_BT[1, : length // 2] = ids_BT[0, : length // 2]
        logits_BTV = self._model(input_ids=ids_BT, use_cache=False).logits.float()
        tolerance = 1e-5 if self.dtype == "float32" else 2e-2
        close = tolerance * max(1.0, float(logits_BTV.abs().max()))
        if float((logits_BTV[0] - logits_BTV[1])[: length // 2].abs().max()) > 100 * close:
            raise ModelError(f"{self.path} is not a causal language model: it looks ahead.")
        if self._head is None or self._trunk is self._model:
            return False
        projected_BTV = self._head(self._hidden(ids_BT)).float()
        same_shape = projected_BTV.shape == logits_BTV.shape
        return same_shape and float((projected_BTV - logits_BTV).abs().max()) <= close


def _check(span: Span, window: int) -> None:
    if len(span.tokens) > window:
        raise ValueError(f"a span of {len(span.tokens)} tokens does not fit a window of {window}")
    if not 1 <= span.start < len(span.tokens):
        raise ValueError(
            f"a span of {len(span.tokens)} tokens from {span.start} on has none to score"
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


def _load(path: Path, dtype: torch.dtype) -> Any:
    try:
        with _quiet_transformers():
            config = AutoConfig.from_pretrained(
                path, local_files_only=True, trust_remote_code=False
            )
            # The fused attention leaves out the cap that Gemma 2 puts on its attention scores.
            capped = getattr(config.get_text_config(), "attn_logit_softcapping", None)
            model, report = AutoModelForCausalLM.from_pretrained(
                path,
                config=config,
                dtype=dtype,
                attn_implementation="eager" if capped else None,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"The model in {path} cannot be loaded: {error}") from error
    if report["missing_keys"]:
        # They would be drawn at random, and every score with them.
        missing = ", ".join(sorted(report["missing_keys"])[:3])
        raise ModelError(f"The weights in {path} are incomplete: {missing} are missing.")
    return model.eval().requires_grad_(requires_grad=False)


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """No progress bar and no advice on standard error: what matters is raised."""
    verbosity, bar = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        hf_logging.set_verbosity(verbosity)
        if bar:
            hf_logging.enable_progress_bar()


def _window(config: Any) -> int:
    text = config.get_text_config()
    windows = [getattr(text, name, None) for name in WINDOW_NAMES]
    return min((int(window) for window in windows if window), default=UNBOUNDED_WINDOW)
