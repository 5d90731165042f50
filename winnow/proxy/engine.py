"""The seam to a language model: spans of token ids in, sums of negative log-likelihood out.

An `Engine` is the only thing that knows a model; every method is arithmetic over `SpanLoss`. What an engine promises:

* `losses` returns one `SpanLoss` per span, in the order given;
* how spans are batched is a pure function of their lengths and the engine's recorded settings, until memory runs out:
  then the spans that are not done yet are batched anew with less, and `on_replan` hears of it;
* a span that is longer than `window`, or has no token to score, is the caller's error (`ValueError`);
* a NaN or infinite loss is returned as it is: the caller turns it into a rejection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Token ids and where scoring begins: the tokens `tokens[start:]` are scored, each given all before it."""

    tokens: Sequence[int]
    start: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanLoss:
    """The sum of negative log-likelihoods of a span's scored tokens in nats, and how many they are.

    Sums and counts are added first and divided last, so parts merge exactly.
    """

    nll: float
    num_tokens: int

    @property
    def mean(self) -> float:
        """Mean loss in nats per token."""
        return self.nll / self.num_tokens

    def __add__(self, other: SpanLoss) -> SpanLoss:
        return SpanLoss(nll=self.nll + other.nll, num_tokens=self.num_tokens + other.num_tokens)


def check_spans(spans: Sequence[Span], window: int) -> None:
    """What every engine asks of spans before it computes any of them.

    Raises:
        ValueError: a span is longer than the window, or has no token to score.
    """
    for span in spans:
        if len(span.tokens) > window:
            raise ValueError(
                f"a span of {len(span.tokens)} tokens does not fit a window of {window}"
            )
        if not 1 <= span.start < len(span.tokens):
            raise ValueError(
                f"a span of {len(span.tokens)} tokens from {span.start} on has none to score"
            )


class Tokenizer(Protocol):
    """What encoding needs of a tokenizer; ids are those of the model."""

    @property
    def bos_id(self) -> int | None:
        """The id that starts a text, if the model has one."""

    @property
    def eos_id(self) -> int | None:
        """The id that ends a text, if the model has one."""

    def encode(self, texts: Sequence[str], *, special_tokens: bool = True) -> list[list[int]]:
        """Ids of each text, with the tokenizer's default special tokens or without any."""

    def render_chat(self, messages: Sequence[dict[str, str]], *, answered: bool = False) -> str:
        """The tokenizer's own chat template over `messages`, ready for the assistant to answer.

        `answered`: the last message is the assistant's answer, and the text ends as the template ends it.

        Raises:
            InvalidOption: the model has no chat template.
            ValueError: its template refuses these messages, for their roles or their order.
        """


class Engine(Protocol):
    """A causal language model that can say how surprised it is."""

    @property
    def window(self) -> int:
        """The longest span, in tokens."""

    @property
    def revision(self) -> str:
        """Hash of weights, configuration, tokenizer and chat template."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that belongs to the model."""

    def losses(
        self,
        spans: Sequence[Span],
        *,
        on_batch: Callable[[int], None],
        on_replan: Callable[[int], None],
    ) -> list[SpanLoss]:
        """The loss of each span, in the order given.

        `on_batch` hears after a batch how many spans are done, `on_replan` the smaller token budget whenever memory ran
        out. Both are called in the caller's thread, and what they raise stops the work.

        Raises:
            ValueError: a span is longer than the window, or has nothing to score.
            EngineError: the engine failed.
        """


@runtime_checkable
class Embedder(Protocol):
    """A model that places texts, so that like texts lie near each other."""

    @property
    def name(self) -> str:
        """What made the embeddings: `proxy`, or the name of a model."""

    def embed(
        self, texts: Sequence[str], *, on_batch: Callable[[int], None]
    ) -> npt.NDArray[np.float32]:
        """A vector for each text, in the order given, of shape (texts, dimensions): not centred, not normalised.

        A text without a token has NaNs. `on_batch` hears after a batch how many texts are done, in the caller's thread;
        what it raises stops the work.

        Raises:
            EngineError: the model failed.
        """
