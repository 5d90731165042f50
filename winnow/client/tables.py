"""Tables of other libraries in and out: pandas, Polars, Arrow, Hugging Face `datasets`; imported only where used.

A table travels as Parquet, so its types come back: categories of pandas, `ClassLabel` of `datasets`, nested turns.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import IO, TYPE_CHECKING, Any, Protocol, runtime_checkable

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.errors import DependencyMissing, InputError
from winnow.records.score_member import MEMBER

if TYPE_CHECKING:
    import datasets
    import pandas as pd


@runtime_checkable
class ArrowTable(Protocol):
    """A table that other libraries can read: a DataFrame of pandas or Polars, an Arrow table."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The Arrow PyCapsule interface."""


@runtime_checkable
class ParquetTable(Protocol):
    """A table that writes itself: a `datasets.Dataset`."""

    def to_parquet(self, path_or_buf: Any) -> Any:
        """Write the rows as Parquet."""


Table = ArrowTable | ParquetTable

_NULLABLE = {
    pa.bool_(): "boolean",
    pa.int8(): "Int8",
    pa.int16(): "Int16",
    pa.int32(): "Int32",
    pa.int64(): "Int64",
    pa.uint8(): "UInt8",
    pa.uint16(): "UInt16",
    pa.uint32(): "UInt32",
    pa.uint64(): "UInt64",
}
"""Types of pandas that know missing values; its own turn whole numbers into floats, which miss those above 2**53."""


def is_table(data: object) -> bool:
    """Whether `write_table` can write this.

    Raises:
        InputError: it is a collection of tables by name, a `DatasetDict` say.
    """
    if isinstance(data, Mapping):
        names = ", ".join(repr(str(name)) for name in list(data)[:4])
        raise InputError(
            f"A mapping is no dataset: choose a part of it ({names}), or give a list of records.",
            param="data",
        )
    return isinstance(data, ArrowTable | ParquetTable)


def write_table(data: Table, file: IO[bytes]) -> None:
    """Write a table as Parquet, without an index.

    Raises:
        InputError: a column has no single type.
    """
    try:
        if not isinstance(data, ArrowTable):
            data.to_parquet(file)
        elif type(data).__module__.partition(".")[0] == "pandas":
            pq.write_table(pa.Table.from_pandas(data, preserve_index=False), file)
        else:
            pq.write_table(pa.table(data), file)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InputError(
            f"The table has no Arrow form ({error}). Give each column one type, or hand in a list of records.",
            param="data",
        ) from error


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """The rows as a DataFrame; scores are columns `winnow_NAME`, as in CSV.

    Whole numbers and booleans stay exact where some are missing: such a column has a nullable type of pandas.

    Raises:
        DependencyMissing: pandas is not installed.
    """
    pandas = _require("pandas")
    if MEMBER in table.schema.names:
        place = table.schema.get_field_index(MEMBER)
        scores = table.column(place).combine_chunks()
        table = table.remove_column(place)
        for field, values in zip(scores.type, scores.flatten(), strict=True):
            table = table.append_column(f"{MEMBER}_{field.name}", values)
    frame: pd.DataFrame = table.to_pandas()
    for name, values in zip(table.column_names, table.columns, strict=True):
        if values.null_count and name in frame.columns and values.type in _NULLABLE:
            nullable = {values.type: pandas.api.types.pandas_dtype(_NULLABLE[values.type])}
            frame[name] = values.to_pandas(types_mapper=nullable.get).array
    return frame


def to_dataset(table: pa.Table) -> datasets.Dataset:
    """The rows as a `datasets.Dataset`; scores are the feature `winnow`.

    Raises:
        DependencyMissing: `datasets` is not installed.
    """
    dataset: datasets.Dataset = _require("datasets").Dataset(table)
    return dataset


def _require(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise DependencyMissing(f"This needs {name}: pip install {name}") from error
