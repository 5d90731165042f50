"""What a benchmark sets for its whole process does not outlive its test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def ordinary_floats() -> Iterator[None]:
    """Studies round the smallest floats to zero; other tests need them."""
    yield
    torch.set_flush_denormal(False)
