"""Held-out loss by position: does the model know what to do at every place of its context?"""

from itertools import pairwise

import torch
from transformers import GPT2LMHeadModel

from recipes.mini.model import token_losses
from recipes.mini.stream import Tokens, TokenStream
from recipes.mini.tokenizer import CONTEXT

BUCKETS = (0, 16, 64, 256, 512, 1024)


@torch.no_grad()
def loss_by_position(model: GPT2LMHeadModel, documents: list[Tokens]) -> dict[str, float]:
    """Mean loss in nats over full rows of the held-out stream, by position bucket and in all."""
    available = sum(len(document) for document in documents) - 1
    inputs, targets = TokenStream(documents).take(available // CONTEXT, CONTEXT)
    rows = [
        token_losses(model, torch.from_numpy(x), torch.from_numpy(y))
        for x, y in zip(inputs[:, None], targets[:, None], strict=True)
    ]
    losses = torch.cat(rows)
    means = {
        f"{low}-{high - 1}": losses[:, low:high].mean().item() for low, high in pairwise(BUCKETS)
    }
    return {**means, "all": losses.mean().item()}
