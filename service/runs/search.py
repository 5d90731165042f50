"""Which rows contain a text: block after block is read, until there are no more or the answer would take long.

What is searched are the contents of turns. Where a search stops depends on the records alone, so the same question has
the same answer, and a search that goes on from there misses nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from service.resources import Resources
from service.runs.columns import records_of
from winnow.records.blocks import BlockReader
from winnow.records.example import BLOCK_ROWS

MAX_BYTES = 192 << 20
"""Text that one request searches: about a second of it."""

Bools = npt.NDArray[np.bool_]

_CONTENTS = "turns.list.element.content"


def search(resources: Resources, dataset_id: str, text: str, *, first_row: int) -> Bools:
    """For the row `first_row` and those that follow it, as many as are searched, whether each contains the text."""
    name = ("search", dataset_id, str(first_row), text)
    return resources.kept.get(
        name, lambda: search_records(records_of(resources, dataset_id), text, first_row=first_row)
    )


def search_records(
    records: BlockReader, text: str, *, first_row: int, max_bytes: int = MAX_BYTES
) -> Bools:
    """As `search`; it ends with the block in which more than `max_bytes` of text have been read."""
    first_block, skipped = divmod(first_row, BLOCK_ROWS)
    found = [np.zeros(0, dtype=np.bool_), *_found(records, text, first_block, max_bytes)]
    return np.concatenate(found)[skipped:]


def _found(records: BlockReader, text: str, first_block: int, max_bytes: int) -> Iterator[Bools]:
    num_bytes = 0
    for table in records.scan([_CONTENTS], first_block=first_block):
        yield contains(table.column("turns").combine_chunks(), text)
        num_bytes += table.nbytes
        if num_bytes > max_bytes:
            return


def contains(turns: pa.ListArray, text: str) -> Bools:
    """Whether the text stands in a turn of each row, in capitals or not."""
    contents = turns.values.field("content")
    hits = np.flatnonzero(pc.match_substring(contents, text, ignore_case=True))
    rows = np.searchsorted(turns.offsets, hits, side="right") - 1
    found = np.zeros(len(turns), dtype=np.bool_)
    found[rows] = True
    return found
