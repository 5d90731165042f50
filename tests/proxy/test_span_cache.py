"""A key stands for everything that a loss depends on, and for nothing else."""

from __future__ import annotations

import pytest

from winnow.proxy.engine import Span
from winnow.proxy.span_cache import KEY_BYTES, span_keys

ORIGIN = {"revision": "abc", "dtype": "float32", "engine": "torch"}
SPAN = Span(tokens=[5, 7, 9], start=1)


def test_equal_spans_have_equal_keys_however_their_tokens_are_held() -> None:
    keys = span_keys([SPAN, Span(tokens=(5, 7, 9), start=1)], **ORIGIN)
    assert len(keys[0]) == KEY_BYTES
    assert keys[0] == keys[1]


@pytest.mark.parametrize(
    "other",
    [
        Span(tokens=[5, 7, 9], start=2),
        Span(tokens=[5, 7, 8], start=1),
        Span(tokens=[5, 7], start=1),
        Span(tokens=[1, 5, 7, 9], start=1),
    ],
)
def test_another_span_has_another_key(other: Span) -> None:
    assert len(set(span_keys([SPAN, other], **ORIGIN))) == 2


@pytest.mark.parametrize("other", [{"revision": "abd"}, {"dtype": "bfloat16"}, {"engine": "vllm"}])
def test_another_model_dtype_or_engine_has_other_keys(other: dict[str, str]) -> None:
    assert span_keys([SPAN], **ORIGIN) != span_keys([SPAN], **ORIGIN | other)
