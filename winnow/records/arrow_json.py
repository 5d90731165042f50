"""Arrow records as lines of JSON.

    Arrow                         JSON
    ----------------------------  -----------------------------------------------
    date, time, timestamp         ISO 8601 string, to the microsecond
    duration                      seconds, a number
    decimal                       string with all its digits
    binary                        base64 string
    map                           list of [key, value]
    NaN, infinity                 null

Not covered: getting the types back from the JSON. Ask for Parquet, which keeps them.
"""

from __future__ import annotations

import base64
import datetime as dt
import decimal
from typing import Any

import orjson
import pyarrow as pa


def batch_to_json(batch: pa.RecordBatch) -> pa.Array:
    """A binary array with one JSON object for each row."""
    names = batch.schema.names
    rows = zip(*(python_values(column) for column in batch.columns), strict=True)
    lines = [orjson.dumps(dict(zip(names, row, strict=True)), default=_to_json) for row in rows]
    return pa.array(lines, pa.binary())


def python_values(column: pa.Array) -> list[Any]:
    """The values of a column, whatever its type; times that Python's datetime cannot hold as Arrow writes them."""
    target = _microseconds(column.type)
    if target != column.type:  # Arrow refuses to convert nanoseconds
        column = column.cast(target, safe=False)
    try:
        values: list[Any] = column.to_pylist()
    except (ValueError, OverflowError):  # a year beyond 9999
        values = [str(scalar) if scalar.is_valid else None for scalar in column.cast(pa.string())]
    return values


def _to_json(value: object) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if isinstance(value, decimal.Decimal):
        return str(value)
    return str(value)


def _microseconds(kind: pa.DataType) -> pa.DataType:
    """The same type with microseconds where it has nanoseconds, at any depth."""
    types = pa.types
    if types.is_list(kind) or types.is_large_list(kind):
        make = pa.list_ if types.is_list(kind) else pa.large_list
        return make(kind.value_field.with_type(_microseconds(kind.value_type)))
    if types.is_struct(kind):
        return pa.struct([field.with_type(_microseconds(field.type)) for field in kind])
    return _IN_MICROSECONDS.get(str(kind)) or (
        pa.timestamp("us", kind.tz) if types.is_timestamp(kind) and kind.unit == "ns" else kind
    )


_IN_MICROSECONDS = {"duration[ns]": pa.duration("us"), "time64[ns]": pa.time64("us")}
