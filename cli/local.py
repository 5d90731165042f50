"""Scoring on this machine: the service's steps in one process, on a temporary folder.

Records go through the same blocks of 1,024 rows, the same encoding and the same rendering as in the service, so equal
settings give equal bytes. Not covered: options (`cli.score`), subsets (`cli.subset`), words for people (`cli.report`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, Protocol

import fsspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cli.output import STDOUT
from cli.progress import row_progress
from winnow.embedding import Matrix, embed_block
from winnow.estimate import Blocks, Estimate, estimate
from winnow.proxy.engine import Embedder, Engine
from winnow.records.blocks import BlockReader, BlockWriter
from winnow.records.example import BLOCK_ROWS, Example, Rejection
from winnow.records.readers import read_records
from winnow.scores import SCORE_SCHEMA, ScoreTable, score_batch
from winnow.scoring import score_blocks
from winnow.spec import RunSpec

REPORT_EVERY_ROWS = 256


class Rows(Blocks, Protocol):
    """Rows in blocks, whose sources are known."""

    def sources(self) -> pa.ChunkedArray:
        """The source of each row, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Records of a file in their stored form, and what reading them found."""

    blocks: BlockReader
    rows_read: int
    rows_usable: int

    def rejections(self) -> Iterator[Rejection]:
        """The rows that are no example, in order."""
        for block in range(self.blocks.num_blocks):
            yield from (row for row in self.blocks.outcomes(block) if isinstance(row, Rejection))

    def examples(self, rows: npt.NDArray[np.int64]) -> Iterator[Example]:
        """The examples among these rows, in the order of the file."""
        wanted = set(rows.tolist())
        for block in sorted({row // BLOCK_ROWS for row in wanted}):
            for row in self.blocks.outcomes(block):
                if row.row in wanted and isinstance(row, Example):
                    yield row


@dataclass(frozen=True, slots=True)
class Sample:
    """Some examples as rows of their own, numbered from 0, in blocks; implements `Rows`."""

    examples: list[Example]

    @property
    def num_blocks(self) -> int:
        """How many blocks they are in."""
        return -(-len(self.examples) // BLOCK_ROWS)

    @property
    def num_rows(self) -> int:
        """How many they are."""
        return len(self.examples)

    def outcomes(self, block: int) -> list[Example | Rejection]:
        """The rows of one block."""
        first = block * BLOCK_ROWS
        rows = enumerate(self.examples[first : first + BLOCK_ROWS], start=first)
        return [replace(example, row=row) for row, example in rows]

    def sources(self) -> pa.ChunkedArray:
        """The source of each row, in order."""
        return pa.chunked_array([[example.source for example in self.examples]], pa.string())


@contextmanager
def stored(source: Path, *, given: str, max_record_bytes: int) -> Iterator[Dataset]:
    """Read a file into blocks that live as long as the context does.

    Raises:
        UnknownFormat, DamagedContainer: the file cannot be read.
    """
    with TemporaryDirectory(prefix="winnow-") as folder:
        filesystem = fsspec.filesystem("file")
        with (
            _opened(source) as stream,
            BlockWriter(filesystem, folder) as writer,
            row_progress("reading") as advance,
        ):
            for record in read_records(stream, given=given, max_record_bytes=max_record_bytes):
                writer.write(record)
                if record.row % REPORT_EVERY_ROWS == 0:
                    advance(record.row + 1, None)
        yield Dataset(
            blocks=BlockReader(filesystem, folder),
            rows_read=writer.rows_read,
            rows_usable=writer.rows_usable,
        )


def estimate_rows(blocks: BlockReader, *, engine: Engine, spec: RunSpec) -> Estimate:
    """What `score_rows` would do, from a sample, with progress."""
    with row_progress("sampling") as advance:
        return estimate(
            blocks, engine=engine, spec=spec, on_rows=lambda done: advance(done, blocks.num_rows)
        )


def score_rows(blocks: Blocks, *, engine: Engine, spec: RunSpec) -> ScoreTable:
    """A score or a rejection for every row, block after block, with progress."""
    with row_progress("scoring") as advance:
        scored = score_blocks(
            map(blocks.outcomes, range(blocks.num_blocks)),
            engine=engine,
            spec=spec,
            on_rows=lambda done: advance(done, blocks.num_rows),
        )
        batches = [score_batch(outcomes) for outcomes in scored]
    return ScoreTable(pa.Table.from_batches(batches, schema=SCORE_SCHEMA))


def embed_rows(blocks: Blocks, *, embedder: Embedder, spec: RunSpec) -> Matrix:
    """An embedding for every row, NaNs where it has none, block after block, with progress."""
    parts: list[Matrix] = []
    num_before = 0
    with row_progress("embedding") as advance:

        def on_rows(num_done: int) -> None:
            advance(num_before + num_done, blocks.num_rows)

        for block in range(blocks.num_blocks):
            rows = blocks.outcomes(block)
            parts.append(embed_block(rows, embedder, spec, on_rows=on_rows))
            num_before += len(rows)
    return np.concatenate(parts)


def _opened(source: Path) -> AbstractContextManager[BinaryIO]:
    return nullcontext(sys.stdin.buffer) if source == STDOUT else source.open("rb")
