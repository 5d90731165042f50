"""Hostile records in every form in which rows leave: nothing is lost, nothing breaks out, nothing is taken for ours."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest

from tests.records import hostile
from tests.records.samples import read, store
from winnow.errors import InvalidOption
from winnow.labelling.argilla import MAX_ITEMS
from winnow.output import OUTPUT_FORMATS, Origin, Output, render_output
from winnow.proxy.engine import SpanLoss
from winnow.records.blocks import BlockReader
from winnow.records.example import Flag
from winnow.scores import RowScore, ScoreTable

ORIGIN = Origin(method="ifd", dataset="ds_1", run="run_1", version="run_1")
NAMES = list(hostile.LINES)
ROWS = np.arange(len(NAMES))


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> BlockReader:
    return store(tmp_path_factory.mktemp("hostile"), read(hostile.DATA))


@pytest.fixture(scope="module")
def scores() -> ScoreTable:
    return ScoreTable.from_rows(
        RowScore(
            row=row,
            score=row / 5,
            conditioned=SpanLoss(nll=row + 1.0, num_tokens=2),
            direct=SpanLoss(nll=3.0, num_tokens=2),
            flags=(Flag.TRUNCATED,) if row == 5 else (),
        )
        for row in ROWS.tolist()
    )


@pytest.fixture
def out(reader: BlockReader, scores: ScoreTable) -> Any:
    def make(form: str, **options: Any) -> bytes:
        output = Output(format=form, **options)
        parts = render_output(reader, ROWS, output=output, scores=scores, origin=ORIGIN)
        return b"".join(parts)

    return make


@pytest.fixture(autouse=True)
def long_fields() -> Iterator[None]:
    """Python's reader of CSV stops at 128 KiB unless told otherwise."""
    before = csv.field_size_limit(1 << 22)
    yield
    csv.field_size_limit(before)


def loaded(data: bytes) -> Any:
    """JSON as a strict reader takes it: UTF-8 and neither NaN nor infinity."""
    return json.loads(data.decode(), parse_constant=pytest.fail)


def test_every_hostile_record_can_be_scored(reader: BlockReader) -> None:
    assert (reader.num_rows, reader.num_usable) == (len(NAMES), len(NAMES))


def test_json_lines_are_the_very_bytes(out: Any) -> None:
    assert out("jsonl") == hostile.DATA


@pytest.mark.parametrize("scored", [False, True])
def test_json_holds_equal_values(out: Any, scored: bool) -> None:
    found = loaded(out("json", include_scores=scored))
    for record, line in zip(found, hostile.LINES.values(), strict=True):
        expected = json.loads(line)
        if scored:
            assert record.pop("winnow")["row"] in ROWS
            expected.pop("winnow", None)
        assert record == expected


@pytest.mark.parametrize("scored", [False, True])
def test_csv_gives_every_text_back(out: Any, scored: bool) -> None:
    text = out("csv", include_scores=scored).decode()
    rows = dict(zip(NAMES, csv.DictReader(io.StringIO(text, newline=""), strict=True), strict=True))
    assert rows["formulas"]["instruction"] == "=cmd|' /C calc'!A0"
    assert rows["formulas"]["=1+1"] == "+1+1"
    assert rows["script"]["instruction"] == "<script>alert(1)</script>"
    assert rows["nul"]["instruction"] == "a\0b"
    assert rows["surrogates"]["instruction"] == "\ufffd"
    assert rows["megabyte"]["output"] == hostile.MEGABYTE
    assert rows["separators"]["instruction"] == '"quoted", \r\n;\n'
    assert json.loads(rows["deep"]["more"]) == json.loads(hostile.LINES["deep"])["more"]
    assert rows["numbers"]["big"] == "1e999"
    assert rows["reserved"]["winnow_row"] == (str(NAMES.index("reserved")) if scored else "-1")


def test_no_cell_is_a_formula_if_csv_is_asked_for_as_a_spreadsheet(out: Any) -> None:
    text = out("csv", escape="spreadsheet").decode()
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    cells = [*header, *(cell for row in rows for cell in row)]
    dangerous = [cell for cell in cells if re.match(r"\s*[=+\-@\uff1d]", cell)]
    assert {cell for cell in dangerous if not re.fullmatch(r"[+-]?[\d.]+", cell)} == set()
    formulas = dict(zip(header, rows[NAMES.index("formulas")], strict=True))
    assert formulas["instruction"] == "'=cmd|' /C calc'!A0"
    assert formulas["'=1+1"] == "'+1+1"
    assert (formulas["number"], formulas["phone"]) == ("-5", "+49")
    assert formulas["space"] == "' =1"


@pytest.mark.parametrize("scored", [False, True])
def test_parquet_gives_every_text_back(out: Any, scored: bool) -> None:
    table = pq.read_table(io.BytesIO(out("parquet", include_scores=scored)))
    rows = dict(zip(NAMES, table.to_pylist(), strict=True))
    assert rows["formulas"]["output"] == "@SUM(1+1)*cmd|' /C calc'!A0"
    assert rows["nul"]["instruction"] == "a\0b"
    assert rows["surrogates"]["instruction"] == "\ufffd"
    assert rows["megabyte"]["output"] == hostile.MEGABYTE
    assert json.loads(rows["deep"]["more"]) == json.loads(hostile.LINES["deep"])["more"]
    assert rows["reserved"]["winnow_score"] == "x"
    if scored:
        assert rows["reserved"]["winnow"]["row"] == NAMES.index("reserved")


def test_label_studio_gets_tasks_that_any_of_its_databases_can_store(out: Any) -> None:
    data = out("label_studio")
    tasks = dict(zip(NAMES, loaded(data), strict=True))
    assert not any(re.search("[\0\ud800-\udfff]", text) for text in texts(loaded(data)))
    assert all(set(task) == {"data", "predictions"} for task in tasks.values())
    assert all(0 <= task["predictions"][0]["score"] <= 1 for task in tasks.values())
    assert max(depth(task) for task in tasks.values()) < 50
    mine = tasks["reserved"]["data"]
    assert (mine["winnow"], mine["data"], mine["predictions"]) == (1, {"a": 1}, [1])
    assert (mine["winnow_row"], mine["winnow_prompt"]) == (NAMES.index("reserved"), "mine")
    assert tasks["nul"]["data"]["winnow_prompt"] == "a\ufffdb"
    assert tasks["script"]["data"]["instruction"] == "<script>alert(1)</script>"
    assert tasks["megabyte"]["data"]["winnow_answer"] == hostile.MEGABYTE
    assert tasks["numbers"]["data"]["big"] == "1e999"
    assert tasks["twice"]["data"]["winnow_prompt"] == "last"
    assert all(isinstance(task["data"]["winnow_answer"], str) for task in tasks.values())


def test_argilla_gets_records_that_its_database_can_store(out: Any) -> None:
    question = UUID(int=7)
    data = out("argilla", question_id=question)
    (bulk,) = (loaded(line) for line in data.splitlines())
    assert not any(re.search("[\0\ud800-\udfff]", text) for text in texts(bulk))
    items = dict(zip(NAMES, bulk["items"], strict=True))
    assert len({item["external_id"] for item in items.values()}) == len(NAMES) <= MAX_ITEMS
    for item in items.values():
        assert all(isinstance(text, str) for text in item["fields"].values())
        assert 0 <= item["suggestions"][0]["score"] <= 1
        assert item["suggestions"][0]["question_id"] == str(question)
    assert items["reserved"]["metadata"]["row"] == NAMES.index("reserved")
    assert items["nul"]["fields"]["prompt"] == "a\ufffdb"
    assert items["numbers"]["metadata"]["id"] == "12345678901234567890"


def texts(value: Any) -> Iterator[str]:
    """Every string of a JSON value, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
    if isinstance(value, dict | list):
        for child in value.values() if isinstance(value, dict) else value:
            yield from texts(child)


def depth(value: Any) -> int:
    children = value.values() if isinstance(value, dict) else value
    return 1 + max(map(depth, children), default=0) if isinstance(value, dict | list) else 0


def test_options_of_another_form_are_refused() -> None:
    with pytest.raises(
        InvalidOption, match="must be one of jsonl, json, csv, parquet, label_studio, argilla"
    ):
        Output(format="xml")
    for name, value in (
        ("escape", "spreadsheet"),
        ("from_name", "x"),
        ("question_id", UUID(int=1)),
    ):
        with pytest.raises(InvalidOption, match=f"{name} belongs to") as refused:
            Output(**{name: value})
        assert refused.value.param == name


def test_a_subset_of_no_rows_is_an_empty_file_of_its_form(
    reader: BlockReader, scores: ScoreTable
) -> None:
    def empty(form: str) -> bytes:
        rows = ROWS[:0]
        parts: Iterator[bytes] = render_output(
            reader, rows, output=Output(format=form), scores=scores, origin=ORIGIN
        )
        return b"".join(parts)

    assert orjson.loads(empty("label_studio")) == []
    assert empty("argilla") == b""
    assert all(isinstance(empty(form), bytes) for form in OUTPUT_FORMATS)
