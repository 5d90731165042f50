"""Models of published shapes with random weights of a fixed seed: speed does not ask what a model has learned."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig

from winnow.proxy.models import SMALL_FILES, resolve

SEED = 0

SHAPES: dict[str, tuple[type[Any], dict[str, object]]] = {
    # GPT-2 (124 M) is the model of the published figures.
    "gpt2-124m": (GPT2Config, {}),
    # The shape of the 0.5 B models of today: grouped queries, a wide head.
    "llama-0.5b": (
        LlamaConfig,
        {
            "vocab_size": 151_936,
            "hidden_size": 896,
            "intermediate_size": 4864,
            "num_hidden_layers": 24,
            "num_attention_heads": 14,
            "num_key_value_heads": 2,
            "max_position_embeddings": 2048,
            "tie_word_embeddings": True,
        },
    ),
}


def model_folder(name: str, *, tokenizer: Path, scratch: Path) -> Path:
    """The folder of the model: built in `scratch` if `name` is one of `SHAPES`, else what Winnow finds by that name."""
    if name not in SHAPES:
        return resolve(name)
    family, options = SHAPES[name]
    folder = scratch / name
    torch.manual_seed(SEED)
    AutoModelForCausalLM.from_config(family(**options)).save_pretrained(folder)
    for file in tokenizer_files(tokenizer):
        shutil.copy(file, folder)
    return folder


def tokenizer_files(folder: Path) -> list[Path]:
    """The tokenizer's files in a folder that may hold a model too."""
    found = {file for pattern in SMALL_FILES for file in folder.glob(pattern)}
    return sorted(file for file in found if file.name != "config.json")
