"""A tiny GPT-2, trained on rows that are a word a token: losses, exact matches, hidden states.

Training is a plain loop: one study trains some eighty such models, and a trainer would cost more than the steps. All
runs of a seed begin with the same weights and meet the rows they share in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional
from torch.optim import AdamW

from benchmarks.reproduce.s2l_study.families import Row

Floats = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]

IGNORED = -100
END = 0
WARM_UP = 0.03
INITIAL_STD = 0.02
EVALUATION_ROWS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What makes a model larger than another."""

    width: int
    layers: int
    heads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Rows as ids, padded on the right, of shape (rows, width); `labels` are `IGNORED` outside answer and end."""

    ids: torch.Tensor
    labels: torch.Tensor

    def take(self, rows: Positions) -> Encoded:
        """These rows, no wider than the longest of them."""
        at = torch.from_numpy(rows)
        width = int((self.labels[at] != IGNORED).nonzero()[:, 1].max()) + 1
        return Encoded(ids=self.ids[at, :width], labels=self.labels[at, :width])

    def __len__(self) -> int:
        return len(self.ids)


def vocabulary(rows: Sequence[Row]) -> dict[str, int]:
    """An id for each word; `END` begins and ends a row."""
    words = sorted({word for row in rows for word in (*row.prompt, *row.answer)})
    return {word: at for at, word in enumerate(words, start=END + 1)}


def encode(
    rows: Sequence[Row], words: dict[str, int], *, with_prompt: bool = True, with_end: bool = True
) -> Encoded:
    """Beginning, prompt, answer and end of each row, or without the prompt or the end."""
    prompts = [[END, *(words[word] for word in row.prompt if with_prompt)] for row in rows]
    answers = [[*(words[word] for word in row.answer), *([END] * with_end)] for row in rows]
    width = max(len(p) + len(a) for p, a in zip(prompts, answers, strict=True))
    ids = torch.full((len(rows), width), END)
    labels = torch.full((len(rows), width), IGNORED)
    for at, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        end = len(prompt) + len(answer)
        ids[at, :end] = torch.tensor(prompt + answer)
        labels[at, len(prompt) : end] = torch.tensor(answer)
    return Encoded(ids=ids, labels=labels)


class TinyGPT(nn.Module):
    """GPT-2's architecture without dropout, the head tied to the embedding of words."""

    def __init__(self, size: Size, *, num_words: int, window: int) -> None:
        super().__init__()
        self.words = nn.Embedding(num_words, size.width)
        self.places = nn.Embedding(window, size.width)
        self.layers = nn.ModuleList(_Layer(size) for _ in range(size.layers))
        self.norm = nn.LayerNorm(size.width)
        for embedding in (self.words, self.places):
            nn.init.normal_(embedding.weight, std=INITIAL_STD)

    def states(self, ids: torch.Tensor) -> torch.Tensor:
        """Last hidden states of ids of shape (rows, tokens), of shape (rows, tokens, width)."""
        found: torch.Tensor = self.words(ids) + self.places.weight[: ids.shape[1]]
        for layer in self.layers:
            found = layer(found)
        return self.norm(found)  # type: ignore[no-any-return]

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """The next word's logits after each state."""
        return states @ self.words.weight.T


class _Layer(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.heads = size.heads
        self.norms = nn.ModuleList(nn.LayerNorm(size.width) for _ in range(2))
        self.attend = nn.Linear(size.width, 3 * size.width)
        self.attended = nn.Linear(size.width, size.width)
        self.up = nn.Linear(size.width, 4 * size.width)
        self.down = nn.Linear(4 * size.width, size.width)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        rows, tokens, width = states.shape
        parts = self.attend(self.norms[0](states)).view(rows, tokens, 3, self.heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        states = states + self.attended(mixed.transpose(1, 2).reshape(rows, tokens, width))
        hidden = functional.gelu(self.up(self.norms[1](states)), approximate="tanh")
        return states + self.down(hidden)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How a model is trained, but for its rows."""

    steps: int
    batch_size: int
    learning_rate: float
    seed: int


def train(
    model: TinyGPT,
    rows: Encoded,
    chosen: Positions,
    training: Training,
    *,
    after_step: Callable[[int], None] = lambda _step: None,
) -> None:
    """Train on the chosen rows; `after_step` hears of each step, the first as 1."""
    optimizer = AdamW(model.parameters(), lr=training.learning_rate, betas=(0.9, 0.98), fused=True)
    batches = _batches(len(rows), chosen, training)
    for step, batch in zip(range(1, training.steps + 1), batches, strict=False):
        for group in optimizer.param_groups:
            group["lr"] = training.learning_rate * _schedule(step / training.steps)
        logits, targets, _ = _predictions(model, rows.take(batch))
        functional.cross_entropy(logits, targets).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        after_step(step)


def _schedule(done: float) -> float:
    return min(done / WARM_UP, 0.5 * (1 + math.cos(math.pi * done)))


def _batches(num_rows: int, chosen: Positions, training: Training) -> Iterator[Positions]:
    """Batches without end; every row of the dataset has a place in each epoch, whether it is chosen or not."""
    draw = np.random.default_rng(training.seed)
    while True:
        order = chosen[np.argsort(draw.random(num_rows)[chosen])]
        for start in range(0, len(order) - training.batch_size + 1, training.batch_size):
            yield order[start : start + training.batch_size]


@torch.no_grad()
def answer_losses(model: TinyGPT, rows: Encoded) -> tuple[Floats, Positions]:
    """The sum of losses of each row's answer and end in nats, and how many tokens that is."""
    sums, counts = [], []
    for part in _parts(rows):
        logits, targets, at = _predictions(model, part)
        losses = functional.cross_entropy(logits, targets, reduction="none").double()
        sums.append(torch.zeros(len(part), dtype=torch.float64).index_add(0, at, losses))
        counts.append(at.bincount(minlength=len(part)))
    return torch.cat(sums).numpy(), torch.cat(counts).numpy()


@torch.no_grad()
def exact_matches(model: TinyGPT, rows: Encoded) -> npt.NDArray[np.bool_]:
    """Whether greedy decoding gives exactly the answer and its end.

    It does if and only if the likeliest token after each prefix of the right answer is the right one.
    """
    found = []
    for part in _parts(rows):
        logits, targets, at = _predictions(model, part)
        wrong = at[logits.argmax(1) != targets]
        found.append(wrong.bincount(minlength=len(part)) == 0)
    return torch.cat(found).numpy()


@torch.no_grad()
def embeddings(model: TinyGPT, rows: Encoded) -> npt.NDArray[np.float32]:
    """Mean of the last hidden states over each row's tokens, of shape (rows, width of the model)."""
    found = []
    for part in _parts(rows):
        states = model.states(part.ids)
        last = (part.labels != IGNORED).int().cumsum(1).argmax(1)
        inside = torch.arange(part.ids.shape[1]) <= last[:, None]
        found.append((states * inside[..., None]).sum(1) / inside.sum(1, keepdim=True))
    return torch.cat(found).numpy()


def _parts(rows: Encoded) -> Iterator[Encoded]:
    for start in range(0, len(rows), EVALUATION_ROWS):
        yield rows.take(np.arange(start, min(start + EVALUATION_ROWS, len(rows))))


def _predictions(model: TinyGPT, rows: Encoded) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits before each token of an answer, that token, and which row it belongs to."""
    targets = rows.labels[:, 1:]
    scored = targets != IGNORED
    states = model.states(rows.ids[:, :-1])
    return model.logits(states[scored]), targets[scored], scored.nonzero()[:, 0]
