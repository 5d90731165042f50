"""Held-out loss by position: does the model know what to do at every place of its context?

Held-out documents are few, so a bucket of positions would mostly tell which text stood there. Rows can
therefore be cut at several offsets, so that every text passes through many positions.
"""

from collections.abc import Iterator
from itertools import pairwise

import torch
from transformers import GPT2LMHeadModel

from recipes.mini.model import token_losses
from recipes.mini.stream import Tokens, TokenStream
from recipes.mini.tokenizer import CONTEXT

BUCKETS = (0, 16, 64, 256, 512, 1024)


ALL_OFFSETS = tuple(range(0, CONTEXT, 256))


@torch.no_grad()
def loss_by_position(
    model: GPT2LMHeadModel, documents: list[Tokens], *, offsets: tuple[int, ...] = (0,)
) -> dict[str, float]:
    """Mean loss in nats over full rows of the held-out stream, by position bucket and in all."""
    rows = [
        token_losses(model, torch.from_numpy(inputs), torch.from_numpy(targets))
        for offset in offsets
        for inputs, targets in _rows(documents, offset)
    ]
    losses = torch.cat(rows)
    means = {
        f"{low}-{high - 1}": losses[:, low:high].mean().item() for low, high in pairwise(BUCKETS)
    }
    return {**means, "all": losses.mean().item()}


def _rows(documents: list[Tokens], offset: int) -> Iterator[tuple[Tokens, Tokens]]:
    """Single rows of the context's length, from the stream without its first tokens."""
    available = sum(len(document) for document in documents) - offset
    stream = TokenStream(documents, cursor=offset)
    for _ in range((available - 1) // CONTEXT):
        yield stream.take(1, CONTEXT)
