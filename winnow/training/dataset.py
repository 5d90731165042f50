"""The rows of a job as TRL reads them: ids and labels on disk, encoded once, mapped into memory instead of loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from datasets import Dataset

from winnow.errors import NoUsableRows
from winnow.proxy.engine import Tokenizer
from winnow.records.example import Rejection
from winnow.spec import Template
from winnow.training.encode import EncodedCompletion, encode_completion
from winnow.training.job import read_examples

_SCHEMA = pa.schema([("input_ids", pa.list_(pa.int32())), ("labels", pa.list_(pa.int32()))])


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """What became of the rows of a file; `num_tokens` and `longest` are tokens of the sequences kept.

    `answers_cut` are rows of which some of the answers did not fit the window.
    """

    rows_used: int
    answers_cut: int
    num_sequences: int
    num_tokens: int
    longest: int
    rejected_by_reason: Mapping[str, int]

    @property
    def rows_rejected(self) -> int:
        """Rows without a token to learn."""
        return sum(self.rejected_by_reason.values())


def encode_file(
    source: Path,
    target: Path,
    tokenizer: Tokenizer,
    *,
    template: Template,
    window: int,
    param: str,
    on_block: Callable[[], None],
) -> Encoded:
    """Encode the examples of `source` into `target`, an Arrow stream of `input_ids` and `labels`.

    Raises:
        NoUsableRows: no row has a token to learn; the message says why the first of them has not, `param` is whose
            rows they are.
        InvalidOption: the tokenizer lacks what the template needs.
    """
    rows_used, answers_cut, lengths = 0, 0, []
    rejections: list[Rejection] = []
    with pa.OSFile(str(target), "wb") as file, pa.ipc.new_stream(file, _SCHEMA) as stream:
        for block in read_examples(source):
            outcomes = encode_completion(block, tokenizer, template=template, window=window)
            used = [one for one in outcomes if isinstance(one, EncodedCompletion)]
            sequences = [sequence for one in used for sequence in one.sequences]
            columns = [[one.tokens for one in sequences], [one.labels for one in sequences]]
            arrays = [
                pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)
            ]
            stream.write_batch(pa.record_batch(arrays, schema=_SCHEMA))
            rows_used += len(used)
            answers_cut += sum(one.cut for one in used)
            lengths += [len(sequence.tokens) for sequence in sequences]
            rejections += [one for one in outcomes if isinstance(one, Rejection)]
            on_block()
    if not rows_used:
        raise NoUsableRows(_why_none(source, rejections), param=param)
    return Encoded(
        rows_used=rows_used,
        answers_cut=answers_cut,
        num_sequences=len(lengths),
        num_tokens=sum(lengths),
        longest=max(lengths),
        rejected_by_reason=dict(Counter(rejection.reason.value for rejection in rejections)),
    )


def open_dataset(target: Path) -> Dataset:
    """What `encode_file` wrote, one sequence for each row."""
    return Dataset.from_file(str(target))


def _why_none(source: Path, rejections: list[Rejection]) -> str:
    if not rejections:
        return f"{source.stem} has no rows."
    first = rejections[0]
    return f"No row of {source.stem} has a token to learn. Row {first.row}: {first.detail}"
