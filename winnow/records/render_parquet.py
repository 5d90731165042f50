"""Parquet out: the Arrow schema of a Parquet input, or types inferred from all chosen records.

    all values of a column (null apart)           type
    --------------------------------------------  --------------------------------------
    strings; nothing but null                     string
    true and false                                bool
    integers of 64 bits                           int64
    numbers, integers among them below 2^53       double
    lists of objects with the same string fields  list<struct<...>>, as chat templates want
    anything else                                 string, each value as JSON text

The file is made in a temporary file, since its footer comes last, and then yielded.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from winnow.records.blocks import BlockReader, Rows, take_rows
from winnow.records.json_text import parse_record
from winnow.records.lines import is_ascending, read_lines
from winnow.records.score_member import MEMBER, SCORE_TYPE, Scores

_GROUP_ROWS = 1 << 16
_GROUP_BYTES = 32 << 20
_GATHER_ROWS = 1 << 14
"""Rows held in memory to bring Arrow records into another order; each such batch reads the dataset once."""
_PIECE_BYTES = 1 << 20
_EXACT = 2**53
_LONG = 2**63

Kind = str | tuple[str, ...]
"""What a JSON value is to Parquet; a tuple is the field names of a list of turns."""


def render_parquet(
    reader: BlockReader, rows: Rows, column_rows: Rows, scores: Scores | None
) -> Iterator[bytes]:
    """Yield the file; `column_rows` are the rows that decide the types."""
    if reader.arrow_schema is not None:
        schema = reader.arrow_schema
        batches = _arrow_in_order(reader, rows)
    else:
        schema = _infer_schema(reader, column_rows)
        batches = _typed(reader, rows, schema)
    if scores is not None:
        schema = _with_member(schema)
        batches = _with_scores(batches, schema, scores)
    with tempfile.TemporaryFile() as file:
        _write(file, schema, (batch for _, batch in batches))
        file.seek(0)
        while piece := file.read(_PIECE_BYTES):
            yield piece


def _write(file: IO[bytes], schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    """Write row groups that are large enough to be read fast."""
    with pq.ParquetWriter(file, schema) as writer:
        waiting: list[pa.RecordBatch] = []
        num_rows = num_bytes = 0
        for batch in batches:
            waiting.append(batch)
            num_rows += batch.num_rows
            num_bytes += batch.nbytes
            if num_rows >= _GROUP_ROWS or num_bytes >= _GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(waiting).unify_dictionaries())
                waiting, num_rows, num_bytes = [], 0, 0
        if waiting:
            writer.write_table(pa.Table.from_batches(waiting).unify_dictionaries())


def _arrow_in_order(reader: BlockReader, rows: Rows) -> Iterator[tuple[Rows, pa.RecordBatch]]:
    if is_ascending(rows):
        yield from reader.arrow(rows)
        return
    for first in range(0, len(rows), _GATHER_ROWS):
        wanted = rows[first : first + _GATHER_ROWS]
        order = np.argsort(wanted, kind="stable")
        batches = [batch for _, batch in reader.arrow(wanted[order])]
        table = pa.Table.from_batches(batches).unify_dictionaries().combine_chunks()
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        offset = 0
        for batch in take_rows(table, place).combine_chunks().to_batches():
            yield wanted[offset : offset + batch.num_rows], batch
            offset += batch.num_rows


def _typed(
    reader: BlockReader, rows: Rows, schema: pa.Schema
) -> Iterator[tuple[Rows, pa.RecordBatch]]:
    for found, lines in read_lines(reader, rows):
        records = [parse_record(line) for line in lines.to_pylist()]
        arrays = [
            _column([record.get(field.name) for record in records], field) for field in schema
        ]
        yield found, pa.RecordBatch.from_arrays(arrays, schema=schema)


def _column(values: list[Any], field: pa.Field) -> pa.Array:
    if (field.metadata or {}).get(b"winnow") == b"json":
        values = [None if value is None else _json_text(value) for value in values]
    return pa.array(values, field.type)


def _json_text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _with_member(schema: pa.Schema) -> pa.Schema:
    fields = [field for field in schema if field.name != MEMBER]
    return pa.schema([*fields, pa.field(MEMBER, SCORE_TYPE)], schema.metadata)


def _with_scores(
    batches: Iterable[tuple[Rows, pa.RecordBatch]], schema: pa.Schema, scores: Scores
) -> Iterator[tuple[Rows, pa.RecordBatch]]:
    for rows, batch in batches:
        added = pa.array(list(scores(rows)), SCORE_TYPE)
        columns = [batch.column(name) for name in schema.names[:-1]]
        yield rows, pa.RecordBatch.from_arrays([*columns, added], schema=schema)


def _infer_schema(reader: BlockReader, rows: Rows) -> pa.Schema:
    kinds: dict[str, set[Kind]] = {}
    for _, lines in reader.raw(rows):
        for line in lines.to_pylist():
            for name, value in parse_record(line).items():
                found = kinds.setdefault(name, set())
                if value is not None:
                    found.add(_kind(value))
    return pa.schema([_field(name, found) for name, found in kinds.items()])


def _kind(value: object) -> Kind:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        if -_EXACT <= value <= _EXACT:
            return "int"
        return "long" if -_LONG <= value < _LONG else "json"
    if isinstance(value, float):
        return "float"
    if isinstance(value, str):
        return "string"
    return _turn_fields(value) if isinstance(value, list) else "json"


def _turn_fields(items: list[Any]) -> Kind:
    """The field names of a list of turns; "json" for any other list."""
    if not items:
        return "no turns"
    names = tuple(items[0]) if isinstance(items[0], Mapping) else ()
    same = all(
        isinstance(item, Mapping)
        and tuple(item) == names
        and all(isinstance(value, str) for value in item.values())
        for item in items
    )
    return names if names and same else "json"


def _field(name: str, kinds: set[Kind]) -> pa.Field:
    for allowed, kind in _TYPES:
        if kinds <= allowed:
            return pa.field(name, kind)
    turns = [kind for kind in kinds if isinstance(kind, tuple)]
    if len(turns) == 1 and kinds <= {turns[0], "no turns"}:
        return pa.field(name, pa.list_(pa.struct([(part, pa.string()) for part in turns[0]])))
    return pa.field(name, pa.string(), metadata={"winnow": "json"})


_TYPES: tuple[tuple[set[Kind], pa.DataType], ...] = (
    ({"string"}, pa.string()),
    ({"bool"}, pa.bool_()),
    ({"int", "long"}, pa.int64()),
    ({"int", "float"}, pa.float64()),
)
