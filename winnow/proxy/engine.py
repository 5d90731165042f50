"""The seam to a language model: spans of token ids in, sums of negative log-likelihood out.

An `Engine` is the only thing that knows a model; every method is arithmetic over `SpanLoss`. What an engine promises:

* `losses` returns one `SpanLoss` per span, in the order given;
* how spans are batched is a pure function of their lengths and the engine's recorded settings;
* a span that is longer than `window`, or has no token to score, is the caller's error (`ValueError`);
* a NaN or infinite loss is returned as it is: the caller turns it into a rejection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


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

    def render_chat(self, messages: Sequence[dict[str, str]]) -> str:
        """The tokenizer's own chat template over `messages`, ready for the assistant to answer.

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

    def losses(self, spans: Sequence[Span], *, on_batch: Callable[[int], None]) -> list[SpanLoss]:
        """The loss of each span, in the order given; `on_batch` hears the spans done after each batch."""
