"""Where the golden models lie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

GOLDEN = Path(__file__).parent.parent / "golden"
TINY = GOLDEN / "tiny-gpt2"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")

MakeModel = Callable[..., Path]
"""Saves a randomly drawn model of a family, with options of its configuration, and returns its folder."""
