"""An engine without a model: exact, instant, and as strict as the real ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from winnow.errors import InvalidOption
from winnow.proxy.engine import Span, SpanLoss

BOS = 256
EOS = 257


@dataclass(frozen=True)
class ByteTokenizer:
    """A token for each byte of UTF-8; `bos`: the model has a BOS; `adds_bos`: its texts begin with it by default."""

    bos: bool = False
    adds_bos: bool = False
    has_chat_template: bool = True

    @property
    def bos_id(self) -> int | None:
        return BOS if self.bos or self.adds_bos else None

    @property
    def eos_id(self) -> int | None:
        return EOS

    def encode(self, texts: Sequence[str], *, special_tokens: bool = True) -> list[list[int]]:
        begin = [BOS] if self.adds_bos and special_tokens else []
        return [begin + list(text.encode("utf-8", "replace")) for text in texts]

    def render_chat(self, messages: Sequence[dict[str, str]], *, answered: bool = False) -> str:
        if not self.has_chat_template:
            raise InvalidOption("this model has no chat template", param="template")
        if [message["role"] for message in messages].count("system") > 1:
            raise ValueError("only one system message, please")
        lines = [f"<{message['role']}>{message['content']}\n" for message in messages]
        return "".join(lines) + ("" if answered else "<assistant>")


@dataclass
class FakeEngine:
    """Implements `winnow.proxy.engine.Engine`: a token's loss is a pure function of it and the tokens before it.

    `batch_spans` spans take `batch_s` seconds together; `calls` counts the spans of each call of `losses`. A text that
    contains `poison` has a loss of NaN. With `memory_spans` memory runs out at the first batch of more spans than that.
    """

    window: int = 256
    revision: str = "fake000000000000"
    tokenizer: ByteTokenizer = field(default_factory=ByteTokenizer)
    batch_spans: int = 64
    batch_s: float = 0.0
    poison: str | None = None
    memory_spans: int | None = None
    calls: list[int] = field(default_factory=list)

    def losses(
        self,
        spans: Sequence[Span],
        *,
        on_batch: Callable[[int], None],
        on_replan: Callable[[int], None],
    ) -> list[SpanLoss]:
        self.calls.append(len(spans))
        while self.memory_spans is not None and self.batch_spans > self.memory_spans:
            self.batch_spans //= 2
            on_replan(self.batch_spans)
        results: list[SpanLoss] = []
        for at in range(0, len(spans), self.batch_spans):
            time.sleep(self.batch_s)
            results += [self._loss(span) for span in spans[at : at + self.batch_spans]]
            on_batch(len(results))
        return results

    def _loss(self, span: Span) -> SpanLoss:
        if len(span.tokens) > self.window:
            raise ValueError("longer than the window")
        if not 1 <= span.start < len(span.tokens):
            raise ValueError("nothing to score")
        nll = sum(token_losses(span.tokens)[span.start :])
        text = bytes(token for token in span.tokens if token < BOS)
        if self.poison is not None and self.poison.encode() in text:
            nll = float("nan")
        return SpanLoss(nll=nll, num_tokens=len(span.tokens) - span.start)


def token_losses(tokens: Sequence[int]) -> list[float]:
    """The loss of each token, in nats from 0.5 to 4.5: a hash of it and all before it."""
    state, losses = 7, []
    for token in tokens:
        state = (state * 31 + token + 1) % 65_521
        losses.append(0.5 + state % 1001 / 250)
    return losses
