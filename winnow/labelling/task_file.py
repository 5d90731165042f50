"""Winnow's task file (`winnow.labelling.label_studio`) read again, task by task, in its order or the hardest first."""

from __future__ import annotations

import io
from array import array
from collections.abc import Iterable, Iterator
from tempfile import TemporaryFile

import orjson

from winnow.errors import InvalidOption
from winnow.records.compression import PieceReader
from winnow.records.json_array import split_array
from winnow.records.readers import MAX_RECORD_BYTES

MAX_TASK_BYTES = 8 * MAX_RECORD_BYTES
"""A task holds its record and, apart from it, the texts of the record."""

UNRANKED = -1.0


def read_tasks(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The tasks of a file that arrives in pieces, each as JSON; one of them in memory at a time.

    Raises:
        DamagedContainer: the file ends before its array does.
    """
    stream = io.BufferedReader(PieceReader(pieces))
    for element in split_array(stream, max_element_bytes=MAX_TASK_BYTES):
        yield element.raw


def hardest_first(tasks: Iterable[bytes]) -> Iterator[bytes]:
    """The same tasks by their scores, highest first, then those that nothing ranks; they wait in a temporary file.

    Raises:
        InvalidOption: nothing ranks any of them.
    """
    scores, ends = array("d"), array("q", [0])
    with TemporaryFile() as spool:
        for task in tasks:
            score = orjson.loads(task)["predictions"][0]["score"]
            scores.append(UNRANKED if score is None else score)
            ends.append(ends[-1] + spool.write(task))
        if scores and max(scores) == UNRANKED:
            raise InvalidOption(
                "None of the rows has a score to order them by. Leave out --order hardest.",
                param="order",
            )
        for at in sorted(range(len(scores)), key=scores.__getitem__, reverse=True):
            spool.seek(ends[at])
            yield spool.read(ends[at + 1] - ends[at])
