"""The floating-point operations that spans need, counted from the model's shape: one numerator for every contestant.

    trunk       2 * weights of its matrices, for every position that is read
    attention   4 * layers * heads * head size, for every pair of a position and itself or one before it
    head        2 * width * vocabulary, for every position that is scored

A multiplication and an addition are two operations. A span's last token is predicted, never read. Norms, activations
and the log-sum-exp behind the head are not counted: they are no products of matrices, which is what the ceiling is of.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from winnow.proxy.engine import Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A model as a cost: operations for one position, one pair of positions, one row of logits.

    `matrices` are inputs and outputs of each distinct matrix, the head's last; `window` is the longest span in tokens.
    """

    trunk: int
    attention: int
    head: int
    matrices: tuple[tuple[int, int], ...]
    window: int

    @classmethod
    def of(cls, folder: Path) -> Shape:
        """The shape of the model in a folder; its weights are not read."""
        config = AutoConfig.from_pretrained(folder)
        with torch.device("meta"):
            model: Any = AutoModelForCausalLM.from_config(config)
        return cls.of_model(model)

    @classmethod
    def of_model(cls, model: Any) -> Shape:
        """The shape of a model that is loaded, or has no more than a shape."""
        config = model.config.get_text_config()
        heads = config.num_attention_heads
        head_size = getattr(config, "head_dim", None) or config.hidden_size // heads
        trunk = [_matrix(module) for module in model.base_model.modules() if _is_matrix(module)]
        outputs, inputs = model.get_output_embeddings().weight.shape
        return cls(
            trunk=sum(2 * inputs * outputs for inputs, outputs in trunk),
            attention=4 * config.num_hidden_layers * heads * head_size,
            head=2 * inputs * outputs,
            matrices=(*sorted(set(trunk)), (inputs, outputs)),
            window=config.max_position_embeddings,
        )

    def flops(self, spans: Iterable[Span]) -> int:
        """Operations that the spans need."""
        return sum(
            self._flops(len(span.tokens) - 1, len(span.tokens) - span.start) for span in spans
        )

    def _flops(self, read: int, scored: int) -> int:
        pairs = read * (read + 1) // 2
        return read * self.trunk + pairs * self.attention + scored * self.head


def _is_matrix(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | Conv1D)


def _matrix(module: Any) -> tuple[int, int]:
    """Inputs and outputs; GPT-2's `Conv1D` keeps its weight the other way round."""
    first, second = module.weight.shape
    return (first, second) if isinstance(module, Conv1D) else (second, first)
