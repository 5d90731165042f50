"""Behind the head: the tiled loss, the fused one and the definition are one number."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import nn

from winnow.proxy.head_loss import CPU_VOCABULARY, fused_losses, head_losses, tiled_losses


class Case(NamedTuple):
    head: nn.Linear
    hidden: torch.Tensor
    targets: torch.Tensor


def drawn(num_rows: int, vocabulary: int, *, bias: bool = False, scale: float = 1.0) -> Case:
    draw = torch.Generator().manual_seed(vocabulary)
    head = nn.Linear(24, vocabulary, bias=bias).requires_grad_(requires_grad=False)
    head.weight.copy_(torch.randn(vocabulary, 24, generator=draw) * scale)
    if bias:
        head.bias.copy_(torch.randn(vocabulary, generator=draw))
    hidden = torch.randn(num_rows, 24, generator=draw)
    return Case(head, hidden, torch.randint(0, vocabulary, (num_rows,), generator=draw))


def defined(case: Case) -> torch.Tensor:
    logits = case.hidden.double() @ case.head.weight.double().T
    if case.head.bias is not None:
        logits += case.head.bias.double()
    return -logits.log_softmax(1).gather(1, case.targets[:, None])[:, 0]


@pytest.mark.parametrize("vocabulary", [7, CPU_VOCABULARY, 2 * CPU_VOCABULARY + 3])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("scale", [0.1, 30.0])
def test_tiled_and_fused_losses_are_those_of_the_definition(
    vocabulary: int, bias: bool, scale: float
) -> None:
    case = drawn(50, vocabulary, bias=bias, scale=scale)
    for losses in (tiled_losses, fused_losses):
        found = losses(*case)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), defined(case), rtol=1e-5, atol=2e-4)


def test_more_rows_than_a_tile_are_cut_into_pieces() -> None:
    case = drawn(1100, 40)
    torch.testing.assert_close(head_losses(*case).double(), defined(case), rtol=1e-5, atol=2e-5)


def test_bfloat16_weights_are_reduced_in_float32() -> None:
    head, hidden, targets = drawn(50, 2 * CPU_VOCABULARY, scale=0.1)
    case = Case(head.bfloat16(), hidden.bfloat16(), targets)
    found = head_losses(*case)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), defined(case), rtol=0, atol=0.02)


def test_a_sure_token_in_bfloat16_costs_nothing_and_never_less() -> None:
    head, _, targets = drawn(200, 2 * CPU_VOCABULARY, scale=3.0)
    hidden = head.weight[targets] * 0.35
    case = Case(head.bfloat16(), hidden.bfloat16(), targets)
    assert 60 < case.head(case.hidden).max() < 200
    found = tiled_losses(*case)
    assert found.min() >= -1e-3
    torch.testing.assert_close(found, fused_losses(*case), rtol=1e-4, atol=1e-3)


def test_a_hidden_state_that_is_not_a_number_gives_no_number() -> None:
    case = drawn(3, 2 * CPU_VOCABULARY)
    case.hidden[1, 0] = torch.nan
    assert head_losses(*case).isnan().tolist() == [False, True, False]
