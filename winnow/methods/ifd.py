"""Instruction-following difficulty: how much the prompt helps a small model to say the answer.

    ppl_ratio    IFD = PPL(A | Q) / PPL(A) = exp(L(A | Q) - L(A))       Superfiltering, Li et al. 2024, arXiv 2402.00530
    loss_ratio   L(A | Q) / L(A)                                        Cherry LLM, Li et al. 2023, arXiv 2308.12032

`L` is the mean negative log-likelihood of the answer's tokens in nats. Below 1 the prompt helps; near 1 it hardly does:
such rows are hard and informative; above 1 it misleads: prompt and answer do not fit.

Not covered: which tokens are scored (`winnow.proxy.encoding`). A result that is not finite is the caller's to reject.
"""

from __future__ import annotations

import math

from winnow.proxy.engine import SpanLoss


def ifd(conditioned: SpanLoss, direct: SpanLoss) -> float:
    """Ratio of the perplexities with and without the prompt; infinite where a float cannot hold it."""
    try:
        return math.exp(conditioned.mean - direct.mean)
    except OverflowError:
        return math.inf


def loss_ratio(conditioned: SpanLoss, direct: SpanLoss) -> float:
    """Ratio of the mean losses with and without the prompt; infinite where the answer alone costs nothing."""
    return conditioned.mean / direct.mean if direct.mean else math.inf
