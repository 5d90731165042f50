"""Losses of a causal language model with vLLM inside this process, on a GPU, or on a CPU with vLLM's build for it.

A span is a request for one token whose prompt is scored; vLLM packs the requests of a block into steps of at most
`token_budget` tokens, which also bounds its memory. Two ways to ask, the first where it can be had:

* by token id: vLLM projects the scored positions only and answers with one array of floats. It needs the field
  `prompt_logprob_token_ids` and the model runner V2, which needs Triton, so a GPU;
* `prompt_logprobs=0`: every position is projected and every token comes back as a Python object.

vLLM wants a position to be left for the token that it samples. A window of one more than the model's, which no span of
ours ever fills, makes its longest span the model's own, as with torch: the last token of a span is never read.

A NaN or infinite loss is returned as it is, as `winnow.proxy.engine` promises: its row is rejected with a reason, and
the rows beside it keep their scores. An answer that is missing, short, or about other tokens is an `EngineError`.

How it is the same everywhere: requests go in longest first, vLLM takes them in this order, and nothing is compiled, so
no kernel is chosen by a timing. On a CPU its sums also depend on the number of threads.

Import this module through `winnow.proxy.loading`, which sets the environment that vLLM needs before it is imported. Its
CPU build changes torch for the whole process, so the two engines do not share one.

Not covered: more than one GPU (start a worker on each).
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from vllm import LLM, RequestOutput, SamplingParams, TokensPrompt

from winnow.errors import EngineError, ModelError, RevisionMismatch
from winnow.proxy import models
from winnow.proxy.engine import Span, SpanLoss, check_spans
from winnow.proxy.tokenizer import HFTokenizer
from winnow.proxy.torch_model import load_model
from winnow.proxy.window import window_of
from winnow.spec import Dtype

MEMORY_MESSAGES = (
    "Free memory on device",
    "No available memory for the cache blocks",
    "out of memory",
    "not enough memory",
    "can't allocate memory",
)
"""What is raised, as errors of every kind, where another process has the memory: another try may find it free."""

MAX_SEQUENCES = 1024
"""Spans in a step at most. vLLM's own limit depends on the device, and with it the plan of the batches would."""


class VLLMEngine:
    """Implements `winnow.proxy.engine.Engine` for the model in a folder."""

    def __init__(
        self,
        path: Path,
        *,
        dtype: Dtype = "float32",
        token_budget: int = 8192,
        gpu_memory: float = 0.8,
    ) -> None:
        """Load the model. `gpu_memory` is the share of the GPU's memory that vLLM takes for itself.

        Raises:
            ModelError: vLLM cannot load a causal language model from the folder.
            EngineError: there is not enough memory for it.
        """
        self.path = path
        self.dtype = dtype
        self.token_budget = token_budget
        self.gpu_memory = gpu_memory
        with models.unchanged(path) as self.revision:
            self.window = window_of(path)
            self.tokenizer = HFTokenizer(path)
            # vLLM leaves the weights of a linear layer as memory was if the files do not have them.
            load_model(path, torch.float32, device="meta")
            self._llm: LLM | None = self._load()

    @property
    def scores_token_ids(self) -> bool:
        """Whether vLLM can be asked by token id. Looked for, never read from a version."""
        named = "prompt_logprob_token_ids" in SamplingParams.__struct_fields__
        config = self._started().llm_engine.vllm_config
        return named and bool(getattr(config, "use_v2_model_runner", False))

    def losses(
        self,
        spans: Sequence[Span],
        *,
        on_batch: Callable[[int], None],
        on_replan: Callable[[int], None],  # noqa: ARG002 - memory is bounded before a step, never found out in it
    ) -> list[SpanLoss]:
        """The loss of each span, in the order given; `on_batch` is called in the caller's thread and may raise.

        Raises:
            ValueError: a span is longer than the window, or has nothing to score.
            EngineError: vLLM failed, or did not answer. The next call loads it anew.
        """
        check_spans(spans, self.window)
        found: dict[int, SpanLoss] = {}
        left = sorted(range(len(spans)), key=lambda at: (-len(spans[at].tokens), at))
        # vLLM may leave out an answer by token id; what it left out is asked for in the other way.
        ways = (
            (self._by_token_id, self._all_tokens) if self.scores_token_ids else (self._all_tokens,)
        )
        for ask in ways:
            asked = [spans[at] for at in left]
            answers = self._answers(asked, ask, done=len(found), on_batch=on_batch)
            for at, span, answer in zip(left, asked, answers, strict=True):
                if (logprobs := _logprobs(answer, span)) is not None:
                    found[at] = SpanLoss(nll=-math.fsum(logprobs), num_tokens=len(logprobs))
            left = [at for at in left if at not in found]
        if left:
            raise EngineError(f"vLLM gave no log-probabilities for {len(left)} spans.")
        return [found[at] for at in range(len(spans))]

    def _answers(
        self,
        spans: Sequence[Span],
        ask: Callable[[Span], SamplingParams],
        *,
        done: int,
        on_batch: Callable[[int], None],
    ) -> list[RequestOutput]:
        """The output of vLLM for each span, in the order given; `done` spans have been heard of before."""
        llm = self._started()
        prompts = [TokensPrompt(prompt_token_ids=list(span.tokens)) for span in spans]
        names = llm.enqueue(prompts, [ask(span) for span in spans], use_tqdm=False)
        outputs: list[RequestOutput] = []
        while llm.llm_engine.has_unfinished_requests():
            finished = [output for output in self._step() if output.finished]
            outputs += finished
            if num_answered := sum(map(_is_answer, finished)):
                done += num_answered
                try:
                    on_batch(done)
                except BaseException:
                    llm.llm_engine.abort_request(names, internal=True)
                    raise
        # Requests are numbered as they were put in.
        return sorted(outputs, key=lambda output: int(output.request_id))

    def _step(self) -> list[RequestOutput]:
        try:
            outputs: list[RequestOutput] = self._started().llm_engine.step()
        except Exception as error:
            # What it was doing is lost, and so is its notion of who is waiting for what.
            self._llm = None
            if isinstance(error, torch.OutOfMemoryError):
                raise EngineError(
                    f"The GPU is out of memory at {self.token_budget} tokens a step. Lower WINNOW_VLLM_GPU_MEMORY, "
                    "which leaves more for the logits, or WINNOW_VLLM_BATCHED_TOKENS for new runs."
                ) from error
            raise EngineError(f"vLLM failed while it computed losses: {error}") from error
        return outputs

    def _by_token_id(self, span: Span) -> SamplingParams:
        """The scored tokens alone; row r of them predicts the token at `start + r`."""
        return SamplingParams(
            max_tokens=1,
            temperature=0.0,
            detokenize=False,
            skip_clone=True,
            prompt_logprob_token_ids=np.asarray(span.tokens[span.start :], np.int32)[:, None],
            prompt_logprob_start=span.start - 1,
        )

    def _all_tokens(self, span: Span) -> SamplingParams:  # noqa: ARG002 - as `_by_token_id`
        return SamplingParams(
            max_tokens=1,
            temperature=0.0,
            detokenize=False,
            prompt_logprobs=0,
            flat_logprobs=True,
        )

    def _started(self) -> LLM:
        """vLLM, loaded again if it failed.

        Raises:
            RevisionMismatch: the files are no longer those that this engine was made of.
            EngineError: it cannot be loaded again, and the files, which could be, are not to blame.
        """
        if self._llm is None:
            with models.unchanged(self.path) as revision:
                if revision != self.revision:
                    raise RevisionMismatch(f"The files of {self.path} have been replaced.")
                try:
                    self._llm = self._load()
                except ModelError as error:
                    raise EngineError(error.message) from error
        return self._llm

    def _load(self) -> LLM:
        # An engine that was given up a moment ago is held by cycles, and its memory is needed now.
        gc.collect()
        try:
            return LLM(
                str(self.path),
                dtype=self.dtype,
                load_format="safetensors",
                use_tqdm_on_load=False,
                trust_remote_code=False,
                # Token ids go in, and nothing of what is sampled is read.
                skip_tokenizer_init=True,
                generation_config="vllm",
                seed=0,
                logprobs_mode="raw_logprobs",
                max_model_len=self.window + 1,
                max_num_batched_tokens=self.token_budget,
                max_num_seqs=min(MAX_SEQUENCES, self.token_budget),
                gpu_memory_utilization=self.gpu_memory,
                enforce_eager=True,
                # A prompt that is scored is never read from the cache.
                enable_prefix_caching=False,
            )
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            if _is_lack_of_memory(error):
                raise EngineError(
                    f"The GPU has not enough memory for {self.path}: {error}. Lower WINNOW_VLLM_GPU_MEMORY if another "
                    "process uses it."
                ) from error
            raise ModelError(f"vLLM cannot load the model in {self.path}: {error}") from error


def _is_lack_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(
        message in str(error) for message in MEMORY_MESSAGES
    )


def _is_answer(output: RequestOutput) -> bool:
    return _by_id(output) is not None or output.prompt_logprobs is not None


def _by_id(output: RequestOutput) -> Any:
    """What vLLM answered by token id; versions that cannot do not have the field."""
    return getattr(output, "prompt_token_id_logprobs", None)


def _logprobs(output: RequestOutput, span: Span) -> list[float] | None:
    """Log-probabilities of the span's scored tokens; None if vLLM gave none.

    Raises:
        EngineError: they are those of other tokens.
    """
    scored = list(span.tokens[span.start :])
    if (by_id := _by_id(output)) is not None:
        logprobs: list[float] = by_id[:, 0].tolist()
        answered = len(logprobs) == len(scored)
    elif output.prompt_logprobs is not None:
        # Nothing is said of the first token, which follows none.
        logprobs = output.prompt_logprobs.logprobs[span.start - 1 :]
        answered = output.prompt_logprobs.token_ids[span.start - 1 :] == scored
    else:
        return None
    if not answered:
        raise EngineError("vLLM answered for other tokens than it was asked for.")
    return logprobs
