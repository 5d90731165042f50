"""Losses from a running vLLM over HTTP: one server, or many like ones behind an address.

A batch of spans is one request for one token each, whose prompts are scored; `requests_in_flight` of them are with the
server at a time. Two ways to ask, looked for when the engine starts and never read from a version:

* `/inference/v1/generate` by token id (`--enable-scale-out`, model runner V2): the scored positions alone, an array of
  floats as answer; a span a request;
* `/v1/completions` with `prompt_logprobs: 0`: every token comes back as a JSON object of about 70 bytes. (`echo` with
  `logprobs: 0` gives the same numbers in 130.)

Whose losses they are. The weights are on another machine; here are a folder of the same files, for the tokenizer and
the revision, and a server that says its name. What is checked:

* the server lists the model of the run, under its name or as the files it was started on;
* it takes spans as long as the run's, hence one position more, which vLLM keeps for a token of its own;
* `compare`: a few texts have the losses that an engine of the local files gives them, where one is at hand. This
  finds another model, another revision and another `--logprobs-mode`; another dtype only where it moves the mean of a
  text by more than `CLOSE`;
* they have the same losses again before and after each block, so a server that came back as another one is found.

Not covered. Without `compare`, a server that carries the name of the run and other weights is believed. Unlike servers
behind one address are found by chance only. An answer does not say its dtype, and a run in bfloat16 is not told from
one in float16 or float32: start vLLM with the run's, for `auto` halves a float32 model. vLLM batches what it has at the
moment, so equal runs differ in the last digits, and a subset may differ where scores tie.

A NaN or infinite loss is returned as it is, as `winnow.proxy.engine` promises. vLLM writes minus infinity as -9999, and
refuses a whole request for one NaN in it; such a request is halved until the span is found.

`winnow.proxy.vllm_http` says what is asked again and when that ends.
"""

from __future__ import annotations

import asyncio
import io
import math
from base64 import b64decode
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import SecretStr

from winnow.errors import (
    ConfigurationError,
    EngineError,
    ModelError,
    ModelNotFound,
    RevisionMismatch,
)
from winnow.proxy import models
from winnow.proxy.batching import plan
from winnow.proxy.engine import Engine, Span, SpanLoss, check_spans
from winnow.proxy.tokenizer import HFTokenizer
from winnow.proxy.vllm_http import Address, Refused, Session, open_session
from winnow.proxy.window import window_of
from winnow.spec import Dtype

MODELS, COMPLETIONS, GENERATE = "/v1/models", "/v1/completions", "/inference/v1/generate"
MAX_PROMPTS = 256
"""Spans in a request at most; vLLM takes 1,024."""

HEARD_WITHIN_S = 1.0
"""A cancelled run, or a worker that is asked to stop, waits no longer for a server that is silent."""

MINUS_INFINITY = -9999.0
NOT_A_NUMBER = "not JSON compliant"
"""What vLLM says when an answer would contain a NaN."""

PROBES = (
    "The committee postponed its decision because two of the seven members had not read the report.",
    "def area(radius): return 3.14159 * radius ** 2  # 12.5 -> 490.87",
    "Quartz lantern, 48 turnips; whichever violin folds Tuesday into salt: {none} of 7!",
)
"""Texts whose losses tell models apart: prose, code, and what no model expects."""

CLOSE: dict[Dtype, float] = {"float32": 1e-3, "bfloat16": 0.1}
"""Nats by which the mean loss of a probe may differ: far above rounding, far below the distance of two models."""


class VLLMServerEngine:
    """Implements `winnow.proxy.engine.Engine` for a model in a folder that a running vLLM has too.

    Not to be called from inside an event loop.
    """

    def __init__(
        self,
        path: Path,
        *,
        model: str,
        url: str | None,
        api_key: SecretStr | None = None,
        dtype: Dtype = "float32",
        max_length: int | None = None,
        requests_in_flight: int = 16,
        token_budget: int = 1024,
        timeout_s: float = 300.0,
        patience_s: float = 120.0,
    ) -> None:
        """Find the model on the server.

        `model` and `max_length` are the run's; `token_budget` bounds a request. A server that is away is not waited for
        here, as it is in `losses`.

        Raises:
            ConfigurationError: there is no URL, or the server wants another key.
            ModelNotFound: the server has another model.
            ModelError: its window is shorter than the run's, or it does not score prompts.
            EngineError: it is away.
        """
        if url is None:
            raise ConfigurationError(
                "engine=vllm-server needs the address of a running vLLM: set WINNOW_VLLM_URL."
            )
        self.path = path
        self.model = model
        self.dtype = dtype
        self.requests_in_flight = requests_in_flight
        self.token_budget = token_budget
        self._address = Address.of(
            url,
            api_key=None if api_key is None else api_key.get_secret_value(),
            timeout_s=timeout_s,
            patience_s=patience_s,
        )
        with models.unchanged(path) as self.revision:
            self.window = window_of(path)
            self.tokenizer = HFTokenizer(path)
        self._probes = [
            Span(tokens=ids[: self.window], start=1) for ids in self.tokenizer.encode(PROBES)
        ]
        asyncio.run(self._start(max_length or self.window))

    def losses(
        self,
        spans: Sequence[Span],
        *,
        on_batch: Callable[[int], None],
        on_replan: Callable[[int], None],  # noqa: ARG002 - the memory is the server's
    ) -> list[SpanLoss]:
        """The loss of each span, in the order given; `on_batch` is called in the caller's thread.

        It also hears the same number again after each `HEARD_WITHIN_S`, for a server may let it wait for minutes. What
        it raises cancels the requests that are with the server.

        Raises:
            ValueError: a span is longer than the window, or has nothing to score.
            ModelError: the server refuses a request, or takes no span as long as one of these.
            RevisionMismatch: it does not give the losses any more that it gave before.
            EngineError: it is away for longer than the patience, or an answer lacks a value.
        """
        check_spans(spans, self.window)
        if not spans:
            return []
        self._check_window(max(len(span.tokens) for span in spans))
        return asyncio.run(self._heard(spans, on_batch))

    def compare(self, local: Engine) -> None:
        """Hold the server against an engine of the local files, in the dtype of the run.

        Raises:
            RevisionMismatch: it has other weights, or computes in a dtype that is too far from the run's.
        """
        expected = local.losses(self._probes, on_batch=lambda _: None, on_replan=lambda _: None)
        self._check_same(
            self._at_start,
            expected,
            f"vLLM at {self._address.url} has other weights than {self.path}, or computes in another dtype than "
            f"{self.dtype}. Start it on the same files, with --dtype {self.dtype}.",
        )

    # At start

    async def _start(self, longest: int) -> None:
        async with self._open(patience_s=0) as session:
            card = self._find((await session.get(MODELS)).get("data", []))
            self._name = card["id"]
            self._server_window = int(card["max_model_len"]) - 1
            self._check_window(min(longest, self.window))
            self._at_start = await self._complete(session, self._probes)
            if not all(math.isfinite(loss.nll) for loss in self._at_start):
                raise ModelError(f"vLLM at {self._address.url} has no finite loss for plain text.")
            self.by_token_id = await self._takes_token_ids(session)

    def _find(self, cards: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The entry of the model among those that the server lists; adapters have no window of their own."""
        names = {self.model, self.model.partition("@")[0], str(self.path)}
        for card in cards:
            if card.get("max_model_len") and names & {card["id"], card.get("root")}:
                return card
        listed = ", ".join(str(card["id"]) for card in cards)
        raise ModelNotFound(
            f"vLLM at {self._address.url} serves {listed}, not {self.model}. If it has the same files, start it with "
            f"--served-model-name {self.model}.",
            param="model",
        )

    def _check_window(self, longest: int) -> None:
        if longest <= self._server_window:
            return
        variable = (
            " and VLLM_ALLOW_LONG_MAX_MODEL_LEN=1 in its environment"
            if longest == self.window
            else ""
        )
        raise ModelError(
            f"vLLM at {self._address.url} takes spans of at most {self._server_window} tokens, and the run's have "
            f"up to {longest}. Start it with --max-model-len {longest + 1}{variable}, or the run with "
            f"max_length={self._server_window}."
        )

    async def _takes_token_ids(self, session: Session) -> bool:
        try:
            answer = await session.post(GENERATE, self._by_token_id(self._probes[0]))
        except Refused:
            return False
        return answer.get("prompt_token_id_logprobs") is not None

    # A block

    async def _heard(
        self, spans: Sequence[Span], on_batch: Callable[[int], None]
    ) -> list[SpanLoss]:
        num_done = 0

        def tell(num: int) -> None:
            nonlocal num_done
            num_done = num
            on_batch(num)

        work = asyncio.create_task(self._losses(spans, tell))
        try:
            while not (await asyncio.wait([work], timeout=HEARD_WITHIN_S))[0]:
                on_batch(num_done)
            return work.result()
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def _losses(
        self, spans: Sequence[Span], on_batch: Callable[[int], None]
    ) -> list[SpanLoss]:
        changed = (
            f"vLLM at {self._address.url} gives other losses than when this worker met it: its weights or its dtype "
            "changed, or unlike servers share the address. Restart the worker if it changed on purpose."
        )
        async with self._open() as session:
            self._check_same(await self._ask(session, self._probes), self._at_start, changed)
            results = await self._batches(session, spans, on_batch)
            self._check_same(await self._ask(session, self._probes), self._at_start, changed)
        return results

    async def _batches(
        self, session: Session, spans: Sequence[Span], on_batch: Callable[[int], None]
    ) -> list[SpanLoss]:
        room = asyncio.Semaphore(self.requests_in_flight)

        async def compute(batch: Sequence[int]) -> list[tuple[int, SpanLoss]]:
            async with room:
                losses = await self._ask(session, [spans[at] for at in batch])
            return list(zip(batch, losses, strict=True))

        tasks = [asyncio.create_task(compute(batch)) for batch in self._plan(spans)]
        results: dict[int, SpanLoss] = {}
        try:
            for done in asyncio.as_completed(tasks):
                results.update(await done)
                on_batch(len(results))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return [results[at] for at in range(len(spans))]

    def _plan(self, spans: Sequence[Span]) -> list[list[int]]:
        """Which spans are asked for together; longest first, in requests of a token budget."""
        batches = plan(
            [len(span.tokens) for span in spans],
            token_budget=1 if self.by_token_id else self.token_budget,
        )
        return [
            batch[at : at + MAX_PROMPTS]
            for batch in batches
            for at in range(0, len(batch), MAX_PROMPTS)
        ]

    async def _ask(self, session: Session, spans: Sequence[Span]) -> list[SpanLoss]:
        if not self.by_token_id:
            return await self._complete(session, spans)
        return [await self._generate(session, span) for span in spans]

    async def _complete(self, session: Session, spans: Sequence[Span]) -> list[SpanLoss]:
        body = {
            "model": self._name,
            "prompt": [list(span.tokens) for span in spans],
            "max_tokens": 1,
            "temperature": 0,
            "prompt_logprobs": 0,
        }
        try:
            choices = (await session.post(COMPLETIONS, body)).get("choices") or []
        except Refused as refused:
            if NOT_A_NUMBER not in refused.message:
                raise
            if len(spans) == 1:
                return [_loss(spans[0], [math.nan])]
            middle = len(spans) // 2
            return [
                *await self._complete(session, spans[:middle]),
                *await self._complete(session, spans[middle:]),
            ]
        if [choice.get("index") for choice in choices] != list(range(len(spans))):
            raise EngineError(
                f"vLLM at {self._address.url} did not answer for {len(spans)} spans in their order."
            )
        return [
            _loss(span, _scored(choice.get("prompt_logprobs"), span))
            for span, choice in zip(spans, choices, strict=True)
        ]

    async def _generate(self, session: Session, span: Span) -> SpanLoss:
        answer = await session.post(GENERATE, self._by_token_id(span))
        encoded = answer.get("prompt_token_id_logprobs")
        if encoded is None:
            # vLLM leaves it out when it had a part of the prompt already; the other way never does.
            return (await self._complete(session, [span]))[0]
        return _loss(span, _decoded(encoded, span))

    def _by_token_id(self, span: Span) -> dict[str, Any]:
        """The scored tokens alone; row r of them predicts the token at `start + r`."""
        return {
            "model": self._name,
            "token_ids": list(span.tokens),
            "sampling_params": {
                "max_tokens": 1,
                "temperature": 0,
                "detokenize": False,
                "prompt_logprob_token_ids": [[token] for token in span.tokens[span.start :]],
                "prompt_logprob_start": span.start - 1,
            },
        }

    def _check_same(
        self, got: Sequence[SpanLoss], expected: Sequence[SpanLoss], otherwise: str
    ) -> None:
        pairs = zip(got, expected, strict=True)
        # A NaN is close to nothing.
        if not all(abs(one.mean - other.mean) <= CLOSE[self.dtype] for one, other in pairs):
            raise RevisionMismatch(otherwise)

    def _open(self, *, patience_s: float | None = None) -> Any:
        return open_session(
            self._address, connections=self.requests_in_flight, patience_s=patience_s
        )


def _loss(span: Span, logprobs: Sequence[float]) -> SpanLoss:
    return SpanLoss(nll=-math.fsum(logprobs), num_tokens=len(span.tokens) - span.start)


def _scored(entries: Any, span: Span) -> list[float]:
    """Log-probabilities of the scored tokens from an entry `{id: {"logprob": ...}}` for each token of the span.

    The first token's entry is null. The others must all be of the span, those that are not scored too: they are what
    the scored ones were computed after.
    """
    if not isinstance(entries, list) or len(entries) != len(span.tokens):
        raise EngineError(f"vLLM did not answer for the {len(span.tokens)} tokens of a span.")
    try:
        values = [
            float(entry[str(token)]["logprob"])
            for entry, token in zip(entries[1:], span.tokens[1:], strict=True)
        ][span.start - 1 :]
    except (KeyError, TypeError) as error:
        raise EngineError(f"vLLM left out the log-probability of a token: {error}") from error
    return [-math.inf if value == MINUS_INFINITY else value for value in values]


def _decoded(encoded: str, span: Span) -> list[float]:
    """Log-probabilities of the scored tokens from a NumPy file in base64, one to a row."""
    try:
        array = np.load(io.BytesIO(b64decode(encoded)), allow_pickle=False)
    except (ValueError, TypeError, EOFError) as error:
        raise EngineError(f"vLLM's log-probabilities cannot be read: {error}") from error
    if array.shape != (len(span.tokens) - span.start, 1):
        raise EngineError(f"vLLM did not answer for the {len(span.tokens)} tokens of a span.")
    return [float(value) for value in array[:, 0]]
