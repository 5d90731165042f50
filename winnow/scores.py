"""A score or a rejection for every row: the value that methods produce and everything downstream reads.

Three forms of the same thing: `RowScore` for one row; `SCORE_SCHEMA` for columns of rows, in storage and between
processes; and the public form, one line for every row in order, as JSONL, CSV or Parquet.

Not covered: how a score is computed (`winnow.methods`) and which rows are kept (`winnow.selection`).
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count, islice
from pathlib import Path
from typing import IO, Any, Literal, Self, cast, get_args

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from winnow.errors import InputError, InvalidOption
from winnow.proxy.engine import SpanLoss
from winnow.records.example import Flag, RejectionReason

SCORE_DECIMALS = 6
"""Scores are rounded to this before they are stored or ranked, so that float noise cannot change a subset."""


FLAG_BITS: dict[Flag, int] = {
    Flag.TRUNCATED: 1,
    Flag.BLANK_ANSWER: 2,
    Flag.UNLEARNED: 4,
    Flag.TURNS_DROPPED: 8,
    Flag.REPLANNED: 16,
}
"""Place of each flag in a stored bit set; stored runs depend on it, so it only ever grows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowScore:
    """What happened to one row: scored (`reason` is None) or rejected (`score` is None), never both or neither."""

    row: int
    score: float | None = None
    conditioned: SpanLoss | None = None
    direct: SpanLoss | None = None
    flags: tuple[Flag, ...] = ()
    reason: RejectionReason | None = None
    detail: str | None = None
    cluster: int | None = None
    cluster_in_source: int | None = None


SCORE_SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("score", pa.float64()),
        pa.field("nll_conditioned", pa.float64()),
        pa.field("tokens_conditioned", pa.int32()),
        pa.field("nll_direct", pa.float64()),
        pa.field("tokens_direct", pa.int32()),
        pa.field("flags", pa.int16(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("detail", pa.string()),
        pa.field("cluster", pa.int32()),
        pa.field("cluster_in_source", pa.int32()),
    ]
)
"""Columns of stored scores: sums in nats, counts of tokens, `flags` a bit set of `FLAG_BITS`, nulls where rejected.

Not every method has a loss of the answer alone. `cluster` is set where the run has clusters, `cluster_in_source` where
the rows of each source were clustered by themselves. Files that were written before a column was there lack it.
"""

NO_CLUSTER = -1
"""Stands for a row without a cluster in an array of labels, as NaN does for one without a score."""

SELECTION_COLUMNS = ("row", "score", "flags")
"""All that a selection needs; the rest need not be read."""


def pack_flags(flags: Iterable[Flag]) -> int:
    """Flags as a bit set."""
    return sum(FLAG_BITS[flag] for flag in set(flags))


def unpack_flags(bits: int) -> tuple[Flag, ...]:
    """Flags of a bit set, in the order of their bits."""
    return tuple(flag for flag, bit in FLAG_BITS.items() if bits & bit)


def score_batch(rows: Sequence[RowScore]) -> pa.RecordBatch:
    """The rows as one batch of `SCORE_SCHEMA`."""
    columns: list[list[Any]] = [
        [row.row for row in rows],
        [row.score for row in rows],
        [row.conditioned.nll if row.conditioned else None for row in rows],
        [row.conditioned.num_tokens if row.conditioned else None for row in rows],
        [row.direct.nll if row.direct else None for row in rows],
        [row.direct.num_tokens if row.direct else None for row in rows],
        [pack_flags(row.flags) for row in rows],
        [row.reason for row in rows],
        [row.detail for row in rows],
        [row.cluster for row in rows],
        [row.cluster_in_source for row in rows],
    ]
    arrays = [
        pa.array(column, field.type) for column, field in zip(columns, SCORE_SCHEMA, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=SCORE_SCHEMA)


def row_scores(batch: pa.RecordBatch | pa.Table) -> list[RowScore]:
    """The rows of a batch of `SCORE_SCHEMA`."""
    return [
        RowScore(
            row=line["row"],
            score=line["score"],
            conditioned=_span_loss(line["nll_conditioned"], line["tokens_conditioned"]),
            direct=_span_loss(line["nll_direct"], line["tokens_direct"]),
            flags=unpack_flags(line["flags"]),
            reason=None if line["reason"] is None else RejectionReason(line["reason"]),
            detail=line["detail"],
            cluster=line["cluster"],
            cluster_in_source=line["cluster_in_source"],
        )
        for line in batch.to_pylist()
    ]


def _span_loss(nll: float | None, num_tokens: int | None) -> SpanLoss | None:
    return None if nll is None or num_tokens is None else SpanLoss(nll=nll, num_tokens=num_tokens)


ROW_GROUP = 65_536
"""Rows in a row group of stored scores: a million rows read in tens of milliseconds, and few are held while writing."""


def write_parquet(batches: Iterable[pa.RecordBatch], file: IO[bytes] | str | Path) -> int:
    """Write batches of `SCORE_SCHEMA` as they come; returns the rows written."""
    num_rows = 0
    # Rows of a run are few distinct words and many distinct floats: zstd, and dictionaries only for the words.
    with pq.ParquetWriter(
        file, SCORE_SCHEMA, compression="zstd", use_dictionary=["reason", "detail"]
    ) as writer:
        for group in _regroup(batches, ROW_GROUP):
            writer.write_table(group)
            num_rows += group.num_rows
    return num_rows


def _regroup(batches: Iterable[pa.RecordBatch], num_rows: int) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(part.num_rows for part in held) >= num_rows:
            yield pa.Table.from_batches(held)
            held = []
    yield pa.Table.from_batches(held, schema=SCORE_SCHEMA)


class ScoreTable:
    """The scores of a run in row order: columns of `SCORE_SCHEMA`, all or those that were read."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    @classmethod
    def from_rows(cls, rows: Iterable[RowScore]) -> Self:
        """The table of these rows, which come in row order; they may come one by one."""
        rest = iter(rows)
        batches = iter(lambda: score_batch(list(islice(rest, ROW_GROUP))), score_batch([]))
        return cls(pa.Table.from_batches(batches, schema=SCORE_SCHEMA))

    @classmethod
    def read(cls, file: IO[bytes] | str | Path, *, columns: Sequence[str] | None = None) -> Self:
        """Read what `write_parquet` wrote; `columns` (`SELECTION_COLUMNS`, say) None means all."""
        names = None if columns is None else list(columns)
        return cls(pq.read_table(file, columns=names, schema=SCORE_SCHEMA))

    def __len__(self) -> int:
        """Rows read: scored and rejected."""
        return int(self.table.num_rows)

    @cached_property
    def row(self) -> npt.NDArray[np.int64]:
        """Row numbers, ascending."""
        return self._numpy("row").astype(np.int64, copy=False)

    @cached_property
    def score(self) -> npt.NDArray[np.float64]:
        """Scores; NaN stands for a rejected row here and nowhere else."""
        return self._numpy("score").astype(np.float64, copy=False)

    @cached_property
    def flags(self) -> npt.NDArray[np.int16]:
        """Bit sets of `FLAG_BITS`."""
        return self._numpy("flags").astype(np.int16, copy=False)

    @property
    def answer_tokens(self) -> npt.NDArray[np.float64]:
        """Scored tokens of the answer given the prompt; NaN for rejected rows."""
        return self._numpy("tokens_conditioned").astype(np.float64, copy=False)

    def labels(self, column: Literal["cluster", "cluster_in_source"]) -> npt.NDArray[np.int32]:
        """The cluster of each row, `NO_CLUSTER` where it has none."""
        filled = self.table.column(column).fill_null(NO_CLUSTER)
        return np.asarray(filled.to_numpy(), dtype=np.int32)

    def with_clusters(
        self, cluster: npt.NDArray[np.int32], cluster_in_source: npt.NDArray[np.int32]
    ) -> Self:
        """The same table with these clusters, one a row; `NO_CLUSTER` becomes null."""
        table = self.table
        for name, labels in (("cluster", cluster), ("cluster_in_source", cluster_in_source)):
            column = pa.array(labels, pa.int32(), mask=labels == NO_CLUSTER)
            table = table.set_column(SCORE_SCHEMA.get_field_index(name), name, column)
        return type(self)(table.cast(SCORE_SCHEMA))

    @property
    def ranked(self) -> npt.NDArray[np.bool_]:
        """Rows whose score ranks them: they have one, and it is not that of a row the proxy did not learn."""
        unlearned = (self.flags & FLAG_BITS[Flag.UNLEARNED]) != 0
        return np.asarray(~(np.isnan(self.score) | unlearned), dtype=np.bool_)

    @property
    def num_scored(self) -> int:
        """Rows that have a score."""
        return int(np.count_nonzero(~np.isnan(self.score)))

    def batches(self, *, max_rows: int = 16_384) -> Iterable[pa.RecordBatch]:
        """The table in parts, in row order."""
        return self.table.to_batches(max_chunksize=max_rows)  # type: ignore[no-any-return]

    def take(self, rows: npt.NDArray[np.int64]) -> pa.Table:
        """The table of these row numbers, in the order given.

        Raises:
            IndexError: a row is not in the table.
        """
        at = np.searchsorted(self.row, rows)
        if (at >= len(self)).any() or (self.row[at] != rows).any():
            raise IndexError("a row that was asked for is not in the score table")
        return self.table.take(pa.array(at))

    def _numpy(self, name: str) -> npt.NDArray[Any]:
        array: npt.NDArray[Any] = self.table.column(name).to_numpy()
        return array


def score_records(batch: pa.RecordBatch | pa.Table) -> list[dict[str, Any]]:
    """The public form of each row of `SCORE_SCHEMA`: losses are means in nats per token, rounded."""
    columns = [batch.column(name).to_pylist() for name in SCORE_SCHEMA.names]
    return [_record(*values) for values in zip(*columns, strict=True)]


def score_lines(batch: pa.RecordBatch | pa.Table) -> Iterator[bytes]:
    """The public form as JSON, a line for each row."""
    for record in score_records(batch):
        yield orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


def score_members(scores: ScoreTable, rows: npt.NDArray[np.int64]) -> list[Mapping[str, Any]]:
    """What `include=scores` adds to these records as their member `winnow`, in the order given."""
    records = score_records(scores.take(rows))
    return [{name: record[name] for name in record if name != "status"} for record in records]


def _record(  # noqa: PLR0913, PLR0917 - the columns of a row
    row: int,
    score: float | None,
    nll_conditioned: float,
    tokens_conditioned: int,
    nll_direct: float | None,
    tokens_direct: int | None,
    flags: int,
    reason: str | None,
    detail: str | None,
    cluster: int | None,
    cluster_in_source: int | None,
) -> dict[str, Any]:
    if score is None:
        return {"row": row, "status": "rejected", "reason": reason, "detail": detail}
    record = {
        "row": row,
        "status": "scored",
        "score": score,
        "loss_conditioned": round(nll_conditioned / tokens_conditioned, SCORE_DECIMALS),
        "loss_direct": None
        if nll_direct is None or tokens_direct is None
        else round(nll_direct / tokens_direct, SCORE_DECIMALS),
        "tokens_conditioned": tokens_conditioned,
        "tokens_direct": tokens_direct,
        "flags": [flag.value for flag in unpack_flags(flags)],
        "cluster": cluster,
        "cluster_in_source": cluster_in_source,
    }
    return {name: value for name, value in record.items() if value is not None}


PUBLIC_SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("status", pa.string()),
        ("score", pa.float64()),
        ("loss_conditioned", pa.float64()),
        ("loss_direct", pa.float64()),
        ("tokens_conditioned", pa.int32()),
        ("tokens_direct", pa.int32()),
        ("flags", pa.list_(pa.string())),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("cluster", pa.int32()),
        ("cluster_in_source", pa.int32()),
    ]
)
"""Columns of the public form as CSV and Parquet; in CSV, flags are joined by `|`."""

ScoreFormat = Literal["jsonl", "csv", "parquet"]
CSV_FLAG_SEPARATOR = "|"


def score_format(path: str | Path) -> ScoreFormat:
    """The format that the suffix of a scores file names.

    Raises:
        InvalidOption: another suffix.
    """
    suffix = Path(path).suffix.lower().removeprefix(".")
    if suffix not in get_args(ScoreFormat):
        raise InvalidOption(
            f"A scores file ends in .jsonl, .csv or .parquet; got {str(path)!r}.", param="scores"
        )
    return cast("ScoreFormat", suffix)


def write_scores(
    batches: Iterable[pa.RecordBatch],
    file: IO[bytes],
    *,
    format: ScoreFormat,  # noqa: A002
) -> None:
    """Write batches of `SCORE_SCHEMA` in the public form as they come, in constant memory."""
    if format == "parquet":
        with pq.ParquetWriter(file, PUBLIC_SCHEMA, compression="zstd") as writer:
            for batch in batches:
                writer.write_batch(
                    pa.RecordBatch.from_pylist(score_records(batch), schema=PUBLIC_SCHEMA)
                )
    elif format == "csv":
        for part in _csv_parts(batches):
            file.write(part)
    else:
        for batch in batches:
            file.writelines(score_lines(batch))


def _csv_parts(batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, PUBLIC_SCHEMA.names, lineterminator="\n")
    writer.writeheader()
    for batch in batches:
        for record in score_records(batch):
            flags = CSV_FLAG_SEPARATOR.join(record.get("flags", ()))
            writer.writerow(record | {"flags": flags})
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()
    yield text.getvalue().encode()


def read_scores(path: str | Path) -> ScoreTable:
    """Read a scores file that `write_scores` wrote; sums are means times counts again, so good to their rounding.

    Raises:
        InvalidOption: the suffix names no format.
        InputError: the file is not a scores file of a whole run; the message names the line.
    """
    return ScoreTable.from_rows(_read_rows(Path(path)))


def _read_rows(path: Path) -> Iterator[RowScore]:
    readers = {"jsonl": _read_jsonl, "csv": _read_csv, "parquet": _read_parquet}
    records = readers[score_format(path)](path)
    for expected in count():
        try:
            record = next(records, None)
            row = None if record is None else _row_score(record)
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise InputError(f"{path}, entry {expected + 1}: not a score ({error!r}).") from error
        if row is None:
            return
        if row.row != expected:
            raise InputError(
                f"{path}, entry {expected + 1}: row {row.row} where row {expected} belongs. A scores file has one "
                "line for every row of its dataset, in order; write it again with --scores."
            )
        yield row


def _row_score(record: Mapping[str, Any]) -> RowScore:
    if record["status"] == "rejected":
        reason = RejectionReason(record["reason"])
        return RowScore(row=int(record["row"]), reason=reason, detail=record["detail"])
    score = float(record["score"])
    if not math.isfinite(score):
        raise ValueError(f"score {score}")
    return RowScore(
        row=int(record["row"]),
        score=score,
        conditioned=_sum(record["loss_conditioned"], record["tokens_conditioned"]),
        direct=_sum(record["loss_direct"], record["tokens_direct"])
        if _is_set(record, "tokens_direct")
        else None,
        flags=tuple(Flag(flag) for flag in record["flags"]),
        cluster=_label(record, "cluster"),
        cluster_in_source=_label(record, "cluster_in_source"),
    )


def _sum(mean: float | str, num_tokens: int | str) -> SpanLoss:
    return SpanLoss(nll=float(mean) * int(num_tokens), num_tokens=int(num_tokens))


def _label(record: Mapping[str, Any], name: str) -> int | None:
    return int(record[name]) if _is_set(record, name) else None


def _is_set(record: Mapping[str, Any], name: str) -> bool:
    """Not in every form is a value that is not there left out: a CSV file has an empty field."""
    return record.get(name) not in {None, ""}


def _read_jsonl(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open("rb") as file:
        yield from map(orjson.loads, file)


def _read_csv(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8", newline="") as file:
        for record in csv.DictReader(file):
            flags = [flag for flag in record["flags"].split(CSV_FLAG_SEPARATOR) if flag]
            yield record | {"flags": flags}


def _read_parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches():
            yield from batch.to_pylist()
