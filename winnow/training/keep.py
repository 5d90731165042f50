"""The checkpoints that a trajectory keeps: each a model by itself, with its tokenizer, complete or absent.

Weights are kept as they learn, in float32: rounded to bfloat16 they would lose what steps at a small learning rate add.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
from transformers import PreTrainedTokenizerBase

from winnow.training.events import Kept, TrainingEvent
from winnow.training.finite import check_weights
from winnow.training.job import KEPT
from winnow.training.spec import FineTuneSpec
from winnow.trajectory import CHECKPOINT_FILE, Checkpoint


class Keeper:
    """Writes the checkpoints `wanted` and says them; only the first rank has any to write."""

    def __init__(
        self,
        *,
        folder: Path,
        spec: FineTuneSpec,
        wanted: Sequence[Checkpoint],
        tokenizer: PreTrainedTokenizerBase,
        say: Callable[[TrainingEvent], None],
    ) -> None:
        self._folder = folder
        self._spec = spec
        self._wanted = {checkpoint.step: checkpoint for checkpoint in wanted}
        self._tokenizer = tokenizer
        self._say = say

    def wants(self, step: int) -> bool:
        """Whether the model after `step` is to be kept."""
        return step in self._wanted

    def resume(self, step: int) -> None:
        """Say again what an earlier process kept up to `step` and nobody has read; the rest is kept anew."""
        there = {_name(one): one for one in self._wanted if one <= step}
        for path in sorted((self._folder / KEPT).glob("*")):
            if path.name in there:
                self._say(self._event(there[path.name]))
            else:
                shutil.rmtree(path)

    def keep(self, step: int, model: Any) -> None:
        """Keep the model as it is after `step`.

        Raises:
            NonFiniteLoss: it is not numbers any more.
        """
        check_weights(model, self._spec)
        target = self._folder / KEPT / _name(step)
        partial = target.with_suffix(".part")
        model.save_pretrained(partial)
        self._tokenizer.save_pretrained(partial)
        (partial / CHECKPOINT_FILE).write_bytes(orjson.dumps(asdict(self._wanted[step])))
        partial.replace(target)
        self._say(self._event(step))

    def _event(self, step: int) -> Kept:
        checkpoint = self._wanted[step]
        folder = f"{KEPT}/{_name(step)}"
        return Kept(step=step, epoch=checkpoint.epoch, point=checkpoint.point, folder=folder)


def _name(step: int) -> str:
    return f"step-{step:08d}"
