"""Embeddings by a sentence-transformers model in a folder: safetensors, and no code of its own.

On a CPU it computes on one thread, so that the number of threads moves no number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer

from winnow.errors import EngineError, ModelError
from winnow.proxy.torch_model import quiet_transformers

BATCH_TEXTS = 32
PART_TEXTS = 256
"""Texts between two reports; within such a part the library sorts by length."""


class SentenceEmbedder:
    """Implements `winnow.proxy.engine.Embedder` for the model in a folder."""

    def __init__(self, folder: Path, *, name: str, device: Literal["auto", "cpu", "cuda"]) -> None:
        """Load the model, which is called `name`.

        Raises:
            ModelError: the folder holds none that can be loaded without running its code.
        """
        self.name = name
        self._lane = ThreadPoolExecutor(
            1, "winnow-embed", initializer=torch.set_num_threads, initargs=(1,)
        )
        try:
            with quiet_transformers():
                self._model = SentenceTransformer(
                    str(folder),
                    device=None if device == "auto" else device,
                    local_files_only=True,
                    trust_remote_code=False,
                    model_kwargs={"use_safetensors": True},
                )
        except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
            raise ModelError(f"The model in {folder} cannot be loaded: {error}") from error

    def embed(
        self, texts: Sequence[str], *, on_batch: Callable[[int], None]
    ) -> npt.NDArray[np.float32]:
        """The model's own embedding of each text, of shape (texts, dimensions).

        Raises:
            EngineError: the model failed.
        """
        parts = [self._encode(["."])[:0]]
        for begin in range(0, len(texts), PART_TEXTS):
            parts.append(self._encode(list(texts[begin : begin + PART_TEXTS])))
            on_batch(min(begin + PART_TEXTS, len(texts)))
        return np.concatenate(parts)

    def _encode(self, texts: list[str]) -> npt.NDArray[np.float32]:
        encode = self._lane.submit(
            self._model.encode, texts, batch_size=BATCH_TEXTS, show_progress_bar=False
        )
        try:
            return np.asarray(encode.result(), dtype=np.float32)
        except RuntimeError as error:
            raise EngineError(f"{self.name} failed while it embedded texts: {error}") from error
