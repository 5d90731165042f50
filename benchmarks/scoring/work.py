"""What the rows ask of any implementation: tokens to score, and operations to compute."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scoring.flops import Shape
from benchmarks.scoring.rows import Row
from winnow.proxy.encoding import EncodedRow, encode_block
from winnow.proxy.tokenizer import HFTokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """For each row: the tokens that its two passes score together, and the operations that they need."""

    tokens: tuple[int, ...]
    flops: tuple[int, ...]

    @classmethod
    def of(cls, rows: Sequence[Row], model: Path) -> Work:
        """The work of rows in the published convention; a row that cannot be scored is none."""
        shape = Shape.of(model)
        encoded = encode_block(
            [row.example(at) for at, row in enumerate(rows)],
            HFTokenizer(model),
            template="plain",
            convention="superfiltering",
            window=shape.window,
        )
        spans = [
            (*row.conditioned, *row.direct) if isinstance(row, EncodedRow) else ()
            for row in encoded
        ]
        return cls(
            tokens=tuple(sum(len(span.tokens) - span.start for span in of) for of in spans),
            flops=tuple(map(shape.flops, spans)),
        )

    def gflop(self, rows: Iterable[int]) -> float:
        """Operations of some rows, in thousands of millions."""
        return sum(self.flops[row] for row in rows) / 1e9

    def num_tokens(self, rows: Iterable[int]) -> int:
        """Scored tokens of some rows."""
        return sum(self.tokens[row] for row in rows)
