"""How many positions a model has, from its configuration alone: the window that every engine keeps to.

Not covered: what a server in front of a model allows, which may be less.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoConfig

from winnow.errors import ModelError

WINDOW_NAMES = ("max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len")
UNBOUNDED_WINDOW = 2048
"""Window of a model that states none, such as one with relative positions."""


def window_of(path: Path) -> int:
    """The longest span of the model in a folder, in tokens; no weights are read.

    Raises:
        ModelError: its configuration cannot be loaded without running its code.
    """
    try:
        config = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelError(f"The configuration in {path} cannot be loaded: {error}") from error
    return positions(config)


def positions(config: Any) -> int:
    """The longest span under a configuration of transformers, in tokens."""
    text = config.get_text_config()
    windows = [getattr(text, name, None) for name in WINDOW_NAMES]
    return min((int(window) for window in windows if window), default=UNBOUNDED_WINDOW)
