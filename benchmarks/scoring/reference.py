r"""The published procedure, written from its definition, on nothing but transformers: what everybody else runs.

Superfiltering (Li et al. 2024, arXiv 2402.00530): prompt = "{instruction}\n", plus "{input}\n" if there is an input;
`encode` is the tokenizer with its default special tokens.

    conditioned   encode(prompt + answer) cut at the window, scored from len(encode(prompt)) on
    alone         encode(answer) cut at window - len(encode(prompt)) + 1, scored from the second token on

`one_by_one` is how it is published: batch size 1, float32, the full vocabulary projected at every position, two
forward passes a row. `padded` is the same in padded batches of rows in file order, the obvious first improvement. Both
leave out what only costs time in the published scripts: hidden states that nobody reads, a file opened for every row.

Not covered: anything of `winnow`. It is measured against this.

A tensor's name ends in its shape: B sequences, T tokens, V the vocabulary.
"""
# ruff: noqa: N806

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite, nan
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.scoring.rows import Means, Row

Labelled = tuple[list[int], list[int]]
"""Token ids, and a label for each: the id itself, or `NOT_SCORED`."""

NOT_SCORED = -100
ROWS_PER_BATCH = 8


class Reference:
    """The procedure with the model in a folder."""

    def __init__(self, path: Path, *, device: torch.device, threads: int) -> None:
        torch.set_num_threads(threads)
        self.device = device
        self.tokenizer: Any = AutoTokenizer.from_pretrained(path)
        model: Any = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
        self.model = model.to(device).eval()
        self.window = int(model.config.max_position_embeddings)

    def one_by_one(self, rows: Sequence[Row]) -> Iterator[Means | None]:
        """Two forward passes a row; None where a pass has no token to score."""
        for row in rows:
            conditioned, alone = self.encode(row)
            yield _scored(self._loss(conditioned), self._loss(alone))

    def padded(self, rows: Sequence[Row]) -> Iterator[Means | None]:
        """Two forward passes for every `ROWS_PER_BATCH` rows in file order."""
        for begin in range(0, len(rows), ROWS_PER_BATCH):
            encoded = [self.encode(row) for row in rows[begin : begin + ROWS_PER_BATCH]]
            conditioned, alone = map(self._losses, zip(*encoded, strict=True))
            yield from map(_scored, conditioned, alone)

    def encode(self, row: Row) -> tuple[Labelled, Labelled]:
        """What the conditioned pass reads, and what the pass over the answer alone does."""
        prompt = f"{row.instruction}\n" + (f"{row.input}\n" if row.input else "")
        start = len(self._encode(prompt))
        both = self._encode(prompt + row.output)[: self.window]
        alone = self._encode(row.output)[: max(0, self.window - start + 1)]
        return (both, [NOT_SCORED] * min(start, len(both)) + both[start:]), (alone, alone)

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, verbose=False)["input_ids"]
        return ids

    @torch.inference_mode()
    def _loss(self, sequence: Labelled) -> float:
        """Mean loss of one sequence, as the model itself computes it."""
        ids, labels = sequence
        if not ids:
            return nan
        ids_BT, labels_BT = (torch.tensor([part], device=self.device) for part in (ids, labels))
        return float(self.model(input_ids=ids_BT, labels=labels_BT).loss)

    @torch.inference_mode()
    def _losses(self, sequences: Sequence[Labelled]) -> list[float]:
        """Mean loss of each sequence, padded on the right to the longest."""
        ids_BT = self._padded([ids for ids, _ in sequences], 0)
        labels_BT = self._padded([labels for _, labels in sequences], NOT_SCORED)
        mask_BT = self._padded([[1] * len(ids) for ids, _ in sequences], 0)
        logits_BTV = self.model(input_ids=ids_BT, attention_mask=mask_BT).logits
        targets_BT = labels_BT[:, 1:]
        losses = functional.cross_entropy(
            logits_BTV[:, :-1].flatten(0, 1),
            targets_BT.flatten(),
            ignore_index=NOT_SCORED,
            reduction="none",
        )
        counts_B = (targets_BT != NOT_SCORED).sum(1)
        means: list[float] = (losses.view_as(targets_BT).sum(1) / counts_B).tolist()
        return means

    def _padded(self, sequences: Sequence[list[int]], filler: int) -> torch.Tensor:
        longest = max(1, *map(len, sequences))
        rows = [[*ids, *[filler] * (longest - len(ids))] for ids in sequences]
        return torch.tensor(rows, device=self.device)


def _scored(conditioned: float, alone: float) -> Means | None:
    return (conditioned, alone) if isfinite(conditioned) and isfinite(alone) else None
