"""`winnow models`: which proxy models may be used here, and what they are."""

from __future__ import annotations

import json
from pathlib import Path


def models() -> None:
    """List the models of WINNOW_MODELS, the default first: files, size, window, and the revision that runs record."""
    from cli.environment import read_settings
    from winnow.errors import WinnowError
    from winnow.proxy.models import resolve, revision

    for name in read_settings().models:
        try:
            folder = resolve(name)
        except WinnowError as error:
            print(f"{name}\n  not usable: {error.message}")
            continue
        print(f"{name}\n  revision {revision(folder)}, {_describe(folder)}\n  {folder}")


def _describe(folder: Path) -> str:
    config = json.loads((folder / "config.json").read_bytes())
    window = config.get("n_positions") or config.get("max_position_embeddings")
    megabytes = sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 1e6
    tokens = f"window {window} tokens, " if window else ""
    return f"{config.get('model_type', 'unknown')}, {tokens}{megabytes:.1f} MB of weights"
