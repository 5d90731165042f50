"""A record comes out as it went in, in every format, any order, with scores or without."""

from __future__ import annotations

import csv
import datetime as dt
import decimal
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.records.samples import (
    ALPACA,
    CONTAINERS,
    as_csv,
    as_json,
    as_jsonl,
    as_tsv,
    read,
    store,
    table_bytes,
)
from winnow.errors import InvalidOption
from winnow.records.blocks import BlockReader, Rows
from winnow.records.render import SUBSET_FORMATS, render

MANY = [{"prompt": f"p{i}", "response": "é\n" * (i % 5 + 1)} for i in range(3000)]
ORDERS = {
    "ascending": np.array([0, 3, 1023, 1024, 2999]),
    "any": np.array([2999, 0, 1024, 3, 1023]),
    "none": np.array([], np.int64),
}
IN_ANY_ORDER = pytest.mark.parametrize("order", ORDERS)


def out(reader: BlockReader, rows: Sequence[int] | Rows, **options: Any) -> bytes:
    return b"".join(render(reader, np.array(rows, np.int64), **options))


def scores(rows: Rows) -> list[Mapping[str, Any]]:
    return [{"row": row, "score": row / 2, "flags": ["truncated"]} for row in rows.tolist()]


def table(data: bytes) -> pa.Table:
    return pq.read_table(io.BytesIO(data))


@IN_ANY_ORDER
def test_jsonl_lines_keep_their_own_bytes(tmp_path: Path, order: str) -> None:
    lines = [b'{"prompt":  %d, "x": 1.10, "x": 2}' % i for i in range(3000)]
    reader = store(tmp_path, read(b"\r\n".join(lines)))
    rows = ORDERS[order]
    assert out(reader, rows) == b"".join(lines[row] + b"\n" for row in rows)


@IN_ANY_ORDER
@pytest.mark.parametrize("name", SUBSET_FORMATS)
@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_comes_out_in_every_format(
    tmp_path: Path, container: str, name: str, order: str
) -> None:
    reader = store(tmp_path, read(CONTAINERS[container](MANY)))
    rows = ORDERS[order]
    data = out(reader, rows, format=name)
    expected = [MANY[row] for row in rows]
    if name == "jsonl":
        assert [json.loads(line) for line in data.splitlines()] == expected
    elif name == "json":
        assert json.loads(data) == expected
    elif name == "csv":
        assert list(csv.DictReader(io.StringIO(data.decode(), newline=""))) == expected
    else:
        assert table(data).to_pylist() == expected
        assert table(data).schema.names == ["prompt", "response"]


@IN_ANY_ORDER
@pytest.mark.parametrize("container", ["jsonl", "csv", "parquet"])
def test_scores_are_the_last_member(tmp_path: Path, container: str, order: str) -> None:
    reader = store(tmp_path, read(CONTAINERS[container](MANY)))
    rows = ORDERS[order]
    expected = [
        {**MANY[row], "winnow": score} for row, score in zip(rows, scores(rows), strict=True)
    ]
    lines = out(reader, rows, scores=scores).splitlines()
    assert [json.loads(line) for line in lines] == expected
    assert all(line.endswith(b'"flags":["truncated"]}}') for line in lines)
    assert json.loads(out(reader, rows, scores=scores, format="json")) == expected
    found = table(out(reader, rows, scores=scores, format="parquet"))
    assert found.schema.names == ["prompt", "response", "winnow"]
    assert [row["winnow"]["score"] for row in found.to_pylist()] == [row / 2 for row in rows]
    text = io.StringIO(out(reader, rows, scores=scores, format="csv").decode(), newline="")
    cells = list(csv.DictReader(text))
    assert [cell["winnow_row"] for cell in cells] == [str(row) for row in rows]
    assert all(cell["winnow_flags"] == '["truncated"]' for cell in cells)
    assert all(cell["winnow_loss_direct"] == "" for cell in cells)


def test_a_member_named_winnow_gives_way_to_scores(tmp_path: Path) -> None:
    line = b'{"prompt": "p", "winnow": {"score": 9}, "n": 1.50, "response": "\\"winnow\\""}'
    reader = store(tmp_path, read(line))
    assert out(reader, [0]) == line + b"\n"
    scored = out(reader, [0], scores=scores)
    assert scored.count(b'"winnow":') == 1
    assert b'"n":1.50' in scored
    assert table(out(reader, [0], scores=scores, format="parquet")).schema.names == [
        "prompt", "n", "response", "winnow",
    ]  # fmt: skip


def test_json_numbers_come_out_as_written(tmp_path: Path) -> None:
    numbers = ["1.10", "123456789012345678901234567890", "1e2", "-0"]
    source = '[{"prompt": "p", "response": "r", "n": [' + ", ".join(numbers) + "]}]"
    reader = store(tmp_path, read(source.encode()))
    for name in ("json", "jsonl"):
        assert "[" + ", ".join(numbers) + "]" in out(reader, [0], format=name).decode()
    assert "[" + ",".join(numbers) + "]" in out(reader, [0], format="csv").decode()


@pytest.mark.parametrize("make", [as_csv, as_tsv])
def test_csv_gives_the_same_strings_under_the_same_header(tmp_path: Path, make: Any) -> None:
    rows = [{**row, "": "no name", "n": "007"} for row in ALPACA]
    reader = store(tmp_path, read(make(rows)))
    data = out(reader, [0, 1], format="csv")
    assert list(csv.DictReader(io.StringIO(data.decode(), newline=""))) == rows
    assert out(reader, [], format="csv") == b"instruction,input,output,source,id,,n\r\n"


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(*[st.text(st.characters(exclude_categories=["Cs"]), min_size=1)] * 2), min_size=1
    )
)
def test_any_strings_survive_csv(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str]]
) -> None:
    rows = [{"prompt": prompt, "response": response} for prompt, response in cells]
    reader = store(tmp_path_factory.mktemp("csv"), read(as_jsonl(rows)))
    again = read(out(reader, range(len(rows)), format="csv"), given="csv")  # type: ignore[arg-type]
    assert [json.loads(record.raw) for record in again] == rows


def test_json_lines_become_one_csv_header_in_first_seen_order(tmp_path: Path) -> None:
    lines = as_jsonl(
        [
            {"prompt": "p", "response": "r", "b": True, "n": None},
            {"id": 5, "prompt": "p", "response": "r", "tags": ["x", {"y": 1}], "n": 2.5},
        ]
    )
    data = out(store(tmp_path, read(lines)), [0, 1], format="csv").decode()
    assert data == (
        "prompt,response,b,n,id,tags\r\n"
        "p,r,true,,,\r\n"
        'p,r,,2.5,5,"[""x"",{""y"":1}]"\r\n'
    )  # fmt: skip


def test_json_lines_become_typed_parquet_columns(tmp_path: Path) -> None:
    turns = [{"role": "assistant", "content": "a"}]
    lines = [
        {"messages": turns, "i": 1, "f": 1, "b": True, "s": "x", "m": 1, "l": 2**60, "o": {"k": 1}},
        {"messages": turns, "i": None, "f": 0.5, "b": None, "s": None, "m": "1", "l": 1, "z": None},
        {"messages": turns, "big": 2**80, "lf": 2**60, "t": []},
        {"messages": turns, "big": 1, "lf": 0.5, "t": turns},
    ]
    found = table(out(store(tmp_path, read(as_jsonl(lines))), range(4), format="parquet"))  # type: ignore[arg-type]
    kinds = {field.name: str(field.type) for field in found.schema}
    turn_list = "list<element: struct<role: string, content: string>>"
    assert kinds == {
        "messages": turn_list, "i": "int64", "f": "double", "b": "bool", "s": "string", "m": "string",
        "l": "int64", "o": "string", "z": "string", "big": "string", "lf": "string", "t": turn_list,
    }  # fmt: skip
    columns = found.to_pydict()
    assert columns["messages"][0] == turns
    assert columns["f"] == [1.0, 0.5, None, None]
    assert columns["m"] == ["1", '"1"', None, None]
    assert columns["o"][0] == '{"k":1}'
    assert columns["big"][2:] == [str(2**80), "1"]
    assert columns["lf"][2:] == [str(2**60), "0.5"]
    assert columns["t"] == [None, None, [], turns]


def test_lone_surrogates_survive_json_and_are_replaced_elsewhere(tmp_path: Path) -> None:
    line = rb'{"prompt": "\ud83d\ude00 \\ud800", "response": "\ud800", "x": ["\uDFFF"]}'
    reader = store(tmp_path, read(line))
    assert out(reader, [0]) == line + b"\n"
    expected = {"prompt": "😀 \\ud800", "response": "\ufffd", "x": '["\ufffd"]'}
    assert table(out(reader, [0], format="parquet")).to_pylist() == [expected]
    text = io.StringIO(out(reader, [0], format="csv").decode(), newline="")
    assert list(csv.DictReader(text)) == [expected]


def arrow_types(count: int) -> pa.Table:
    names = pa.array([["a", "b"][i % 2] for i in range(count)]).dictionary_encode()
    answer = {"role": "assistant", "content": "a"}
    turns = [[{"role": "user", "content": str(i)}, answer] for i in range(count)]
    columns: dict[str, Any] = {
        "messages": turns,
        "when": pa.array([1_600_000_000_123_456_789 + i for i in range(count)], pa.timestamp("ns", "UTC")),
        "far": pa.array([253_402_300_800] * count, pa.timestamp("s")),
        "day": [dt.date(2020, 1, 2)] * count,
        "took": pa.array([1_500_000_000] * count, pa.duration("ns")),
        "price": [decimal.Decimal("1.50")] * count,
        "bytes": [b"\xff\x00"] * count,
        "name": names,
        "inner": pa.StructArray.from_arrays([names], names=["name"]),
        "times": pa.array([{"t": [1_001]}] * count, pa.struct([("t", pa.list_(pa.time64("ns")))])),
        "long": pa.array(["x"] * count, pa.large_string()),
        "view": pa.array(["z"] * count, pa.string_view()),
        "unsigned": pa.array([2**64 - 1] * count, pa.uint64()),
        "nan": [float("nan")] * count,
        "map": pa.array([[("k", 1)]] * count, pa.map_(pa.string(), pa.int64())),
        "none": pa.nulls(count),
        "a": [1] * count,
        "a.b": [2] * count,
    }  # fmt: skip
    return pa.table(columns).replace_schema_metadata({"made": "by hand"})


@IN_ANY_ORDER
def test_arrow_types_come_out_again(tmp_path: Path, order: str) -> None:
    given_bytes = table_bytes(arrow_types(3000), row_group_size=700)
    source = table(given_bytes)
    rows = ORDERS[order]
    found = table(out(store(tmp_path, read(given_bytes)), rows, format="parquet"))
    assert found.schema.equals(source.schema, check_metadata=True)
    for name in set(source.schema.names) - {"nan"}:
        wanted = [source.column(name).slice(row, 1).combine_chunks() for row in rows.tolist()]
        got = [found.column(name).slice(i, 1).combine_chunks() for i in range(len(rows))]
        assert [str(value) for value in got] == [str(value) for value in wanted], name


def test_arrow_types_become_json_values(tmp_path: Path) -> None:
    reader = store(tmp_path, read(table_bytes(arrow_types(1))))
    record = json.loads(out(reader, [0]))
    assert record == {
        "messages": [{"role": "user", "content": "0"}, {"role": "assistant", "content": "a"}],
        "when": "2020-09-13T12:26:40.123456+00:00",
        "far": "10000-01-01 00:00:00.000",
        "day": "2020-01-02", "took": 1.5, "price": "1.50", "bytes": "/wA=", "name": "a",
        "inner": {"name": "a"}, "times": {"t": ["00:00:00.000001"]}, "long": "x", "view": "z",
        "unsigned": 2**64 - 1, "nan": None, "map": [["k", 1]], "none": None, "a": 1, "a.b": 2,
    }  # fmt: skip


def test_a_sparse_subset_comes_in_few_pieces_and_a_large_one_in_bounded_ones(
    tmp_path: Path,
) -> None:
    reader = store(
        tmp_path, read(as_jsonl({"prompt": "p", "response": "x" * 1000} for _ in range(4000)))
    )
    assert len(list(render(reader, np.arange(0, 4000, 1000)))) == 1
    pieces = list(render(reader, np.arange(4000)))
    assert len(pieces) == 4


def test_a_dataset_without_rows_renders(tmp_path: Path) -> None:
    reader = store(tmp_path, [])
    assert out(reader, []) == b""
    assert json.loads(out(reader, [], format="json")) == []
    assert out(reader, [], format="csv", scores=scores).startswith(b"winnow_row,")
    assert table(out(reader, [], format="parquet")).num_rows == 0


def test_a_json_array_can_be_read_back(tmp_path: Path) -> None:
    reader = store(tmp_path, read(as_json(MANY)))
    again = read(out(reader, ORDERS["any"], format="json"))
    assert [json.loads(record.raw) for record in again] == [MANY[row] for row in ORDERS["any"]]


def test_an_unknown_format_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="must be one of jsonl, json, csv, parquet"):
        render(store(tmp_path, []), np.array([], np.int64), format="xml")
