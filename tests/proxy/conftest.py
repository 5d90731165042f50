"""Tiny models: the golden one, and randomly drawn ones of other families with the golden tokenizer."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from tests.proxy.folders import TINY, TOKENIZER_FILES, MakeModel
from winnow.proxy.torch_engine import TorchEngine


@pytest.fixture(scope="session")
def tiny() -> TorchEngine:
    return TorchEngine(TINY, device="cpu", threads=1, token_budget=512)


@pytest.fixture
def make_model(tmp_path: Path) -> MakeModel:
    """Save a model of a family with random weights, large enough that a cap on its logits would be felt."""

    def make(family: str, **options: object) -> Path:
        torch.manual_seed(0)
        config = AutoConfig.for_model(
            family,
            vocab_size=1024,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            head_dim=16,
            max_position_embeddings=64,
            initializer_range=0.5,
            pad_token_id=0,
            bos_token_id=0,
            eos_token_id=0,
            **options,
        )
        folder = tmp_path / family
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        for name in TOKENIZER_FILES:
            shutil.copy(TINY / name, folder / name)
        return folder

    return make
