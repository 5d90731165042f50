"""The formulas, on numbers that can be checked by hand."""

from __future__ import annotations

import math

import pytest

from winnow.methods.ifd import ifd, loss_ratio
from winnow.proxy.engine import SpanLoss

CONDITIONED = SpanLoss(nll=6.0, num_tokens=3)
DIRECT = SpanLoss(nll=5.0, num_tokens=2)


def test_ifd_is_the_ratio_of_perplexities() -> None:
    assert ifd(CONDITIONED, DIRECT) == pytest.approx(math.exp(2.0) / math.exp(2.5))


def test_the_loss_ratio_is_that_of_the_means() -> None:
    assert loss_ratio(CONDITIONED, DIRECT) == pytest.approx(2.0 / 2.5)


def test_a_prompt_that_changes_nothing_scores_one() -> None:
    assert ifd(DIRECT, DIRECT) == loss_ratio(DIRECT, DIRECT) == 1.0


def test_what_no_float_can_hold_is_infinite() -> None:
    huge, nothing = SpanLoss(nll=1e4, num_tokens=1), SpanLoss(nll=0.0, num_tokens=1)
    assert ifd(huge, nothing) == loss_ratio(huge, nothing) == math.inf


def test_a_loss_that_is_not_a_number_gives_none() -> None:
    broken = SpanLoss(nll=math.nan, num_tokens=1)
    assert math.isnan(ifd(broken, DIRECT))
    assert math.isnan(loss_ratio(broken, DIRECT))
