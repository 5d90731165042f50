"""An adapter and its base as one model: `python -m winnow.training.merge BASE ADAPTER OUT [DTYPE]`.

The sum is taken in float32, whatever the weights are saved as; float32 is what changes no score.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from peft import PeftModel
from transformers import AutoTokenizer

from winnow.proxy.torch_model import DTYPES, load_model
from winnow.spec import Dtype
from winnow.training.main import end_with_parent


def merge_adapter(
    base_folder: Path,
    adapter_folder: Path,
    out_folder: Path,
    *,
    dtype: Dtype = "float32",
    on_part: Callable[[], None] = lambda: None,
) -> None:
    """Write the model that base and adapter are together, with the adapter's tokenizer; complete or absent.

    `on_part` is called after each part of the work that may take minutes.

    Raises:
        ModelError: the base cannot be loaded.
    """
    base = load_model(base_folder, torch.float32)
    on_part()
    merged = PeftModel.from_pretrained(base, str(adapter_folder)).merge_and_unload()
    on_part()
    partial = out_folder.with_name(f"{out_folder.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    merged.to(DTYPES[dtype]).save_pretrained(partial)
    on_part()
    AutoTokenizer.from_pretrained(
        adapter_folder, local_files_only=True, trust_remote_code=False
    ).save_pretrained(partial)
    shutil.rmtree(out_folder, ignore_errors=True)
    partial.replace(out_folder)


if __name__ == "__main__":
    end_with_parent()
    base, adapter, out = map(Path, sys.argv[1:4])
    merge_adapter(base, adapter, out, dtype=cast("Dtype", (sys.argv[4:] or ["float32"])[0]))
