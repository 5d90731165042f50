"""The loss behind a linear LM head, which never holds a matrix of tokens by vocabulary.

    loss = log sum_v exp(hidden . weight_v + bias_v)  -  (hidden . weight_target + bias_target)

On a CPU the product runs at the speed of the machine only as long as its result stays in the caches: logits are
computed in tiles of some rows and some of the vocabulary, and each is folded into a running maximum and a running sum
(the online softmax of Milakov & Gimelshein 2018, arXiv 1805.02867). On a GPU that would be many small kernels: there a
piece of the rows meets the whole vocabulary, and the fused cross-entropy of torch follows.

Reductions are float32 whatever the weights are.

A tensor's name ends in its shape: N scored tokens, D the width of the trunk, V the vocabulary or a tile of it.
"""
# ruff: noqa: N803, N806

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

CPU_ROWS = 512
"""Rows of a tile at most: the weights are read once for as many."""
CPU_VOCABULARY = 1024
"""Columns of a tile: with the rows 2 MiB of float32, which the cores' caches hold."""
CUDA_LOGITS = 2**27
"""Logits at a time on a GPU: half a gigabyte of float32, and as much again while they are reduced."""


def head_losses(head: nn.Linear, hidden_ND: torch.Tensor, targets_N: torch.Tensor) -> torch.Tensor:
    """The negative log-likelihood of each target in nats, float32, of shape N."""
    on_cpu = hidden_ND.device.type == "cpu"
    rows = CPU_ROWS if on_cpu else max(1, CUDA_LOGITS // head.weight.shape[0])
    losses = tiled_losses if on_cpu else fused_losses
    # Pieces of equal size: a short last one would be slow for its rows.
    pieces = -(-len(targets_N) // rows)
    return torch.cat(
        [
            losses(head, hidden, targets)
            for hidden, targets in zip(
                hidden_ND.chunk(pieces), targets_N.chunk(pieces), strict=True
            )
        ]
    )


def fused_losses(head: nn.Linear, hidden_ND: torch.Tensor, targets_N: torch.Tensor) -> torch.Tensor:
    """The losses from all logits of these rows at once."""
    return functional.cross_entropy(head(hidden_ND).float(), targets_N, reduction="none")


def tiled_losses(head: nn.Linear, hidden_ND: torch.Tensor, targets_N: torch.Tensor) -> torch.Tensor:
    """The losses from a tile of logits at a time."""
    peak_N = hidden_ND.new_full(targets_N.shape, -torch.inf, dtype=torch.float32)
    total_N = torch.zeros_like(peak_N)
    # The logit of a target is the very number that is in the sum, rounded as it is: else a sure token could cost less
    # than nothing.
    chosen_N = torch.zeros_like(peak_N)
    for begin in range(0, len(head.weight), CPU_VOCABULARY):
        tile = slice(begin, begin + CPU_VOCABULARY)
        bias_V = None if head.bias is None else head.bias[tile]
        logits_NV = functional.linear(hidden_ND, head.weight[tile], bias_V).float()
        inside_N = (targets_N >= begin) & (targets_N < begin + CPU_VOCABULARY)
        places_N = torch.where(inside_N, targets_N - begin, 0)
        chosen_N += logits_NV.gather(1, places_N[:, None])[:, 0].where(inside_N, 0)
        higher_N = torch.maximum(peak_N, logits_NV.amax(1))
        total_N *= (peak_N - higher_N).exp_()
        total_N += logits_NV.sub_(higher_N[:, None]).exp_().sum(1)
        peak_N = higher_N
    return peak_N + total_N.log() - chosen_N
