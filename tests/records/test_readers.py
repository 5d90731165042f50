"""Every container, compression and schema reads alike, and each odd input has its defined outcome."""

from __future__ import annotations

import gzip
import io
import itertools
import json
from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.records.samples import (
    ALPACA,
    COMPRESSIONS,
    CONTAINERS,
    IDS,
    RECORDS,
    TURNS,
    as_jsonl,
    as_parquet,
    example,
    read,
    rejection,
    table_bytes,
)
from winnow.errors import DamagedContainer, UnknownFormat
from winnow.records.example import Example, Rejection
from winnow.records.parquet_source import _check_declared
from winnow.records.readers import _check_gain, read_records

GOOD = b'{"prompt": "p", "response": "r"}'


@pytest.mark.parametrize("schema", RECORDS)
@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_each_schema_reads_alike_from_each_container(
    container: str, compression: str, schema: str
) -> None:
    records = read(COMPRESSIONS[compression](CONTAINERS[container](RECORDS[schema])))
    found = [record.outcome for record in records]
    assert [outcome.row for outcome in found] == list(range(len(found)))
    assert [outcome.turns for outcome in found if isinstance(outcome, Example)] == TURNS[schema]
    assert [outcome.id for outcome in found if isinstance(outcome, Example)] == IDS[schema]


def test_schemas_may_be_mixed_in_one_file() -> None:
    data = b"".join(as_jsonl(records) for records in RECORDS.values())
    found = [record.outcome for record in read(data)]
    assert [outcome.turns for outcome in found if isinstance(outcome, Example)] == list(
        itertools.chain(*TURNS.values())
    )


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["instruction", "input", "output", "prompt", "response", "messages", "x"]),
            st.none() | st.text() | st.integers() | st.lists(st.text(max_size=3), max_size=2),
        )
        | st.integers()
        | st.text(max_size=9),
        min_size=1,
    )
)  # fmt: skip
def test_every_line_and_element_is_an_example_or_a_rejection(values: list[Any]) -> None:
    lines = b"".join(json.dumps(value).encode() + b"\n" for value in values)
    for data, given_format in ((lines, "jsonl"), (json.dumps(values).encode(), "json")):
        records = read(data, given=given_format)
        assert [record.row for record in records] == list(range(len(values)))
        assert [json.loads(record.raw) for record in records] == values
        for record in records:
            assert isinstance(record.outcome, Example) or record.outcome.detail


@given(st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line)))
def test_any_bytes_of_a_line_are_an_example_or_a_rejection(lines: list[bytes]) -> None:
    records = read(b"\n".join([GOOD, *lines]), given="jsonl")
    assert len(records) == 1 + sum(bool(line.strip()) for line in lines)


@pytest.mark.parametrize(
    ("data", "raws"),
    [
        (b"\xef\xbb\xbf" + GOOD + b"\n", [GOOD]),
        (GOOD + b"\r\n" + GOOD + b"\r\n", [GOOD, GOOD]),
        (b"\n\r\n" + GOOD + b"\n \t\n" + GOOD, [GOOD, GOOD]),
        (b" " + GOOD + b" \n", [b" " + GOOD + b" "]),
    ],
)
def test_marks_line_ends_and_blank_lines_are_no_part_of_a_record(
    data: bytes, raws: list[bytes]
) -> None:
    records = read(data)
    assert [record.raw for record in records] == raws
    assert all(isinstance(record.outcome, Example) for record in records)


def test_blank_lines_are_counted_in_line_numbers() -> None:
    records = read(GOOD + b"\n\n\nnope\n")
    assert (records[1].row, records[1].raw) == (1, b"nope")
    assert isinstance(records[1].outcome, Rejection)
    assert records[1].outcome.detail.startswith("line 4: not valid JSON at character 1")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"prompt": "p", "response": NaN}', "NaN is not JSON; write null"),
        (b'{"prompt": "p", "response": "r", "x": [-Infinity]}', "-Infinity is not JSON"),
        (b'{"prompt": "p", "response": "\xff"}', "byte 30 is not valid UTF-8"),
        (b'{"prompt": "p", "response": "\xed\xa0\x80"}', "not valid UTF-8"),
        (b'{"prompt": "p", "response": "a\x00"}', "not valid JSON"),
        (b'{"prompt": "p"} {"prompt": "p"}', "Extra data"),
        (
            b'{"prompt": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
            "nested more than 200 levels deep",
        ),
        (b'{"prompt": ' + b"[" * 200 + b"]" * 200 + b"}", "nested more than 200 levels deep"),
    ],
)
def test_what_is_not_json_is_malformed(line: bytes, words: str) -> None:
    found = rejection(line)
    assert found.reason == "malformed"
    assert found.detail.startswith("line 1: ")
    assert words in found.detail


def test_long_integers_are_exact_in_the_id_and_kept_in_the_record() -> None:
    line = b'{"prompt": "p", "response": "r", "id": 123456789012345678901234567890, "n": 1.10}'
    assert example(line).id == "123456789012345678901234567890"
    assert read(line)[0].raw == line
    huge = b'{"prompt": "p", "response": "r", "id": ' + b"1" * 5000 + b"}"
    assert example(huge).id is None


def test_of_duplicate_keys_the_last_is_scored_and_all_are_kept() -> None:
    line = b'{"prompt": "p", "response": "first", "response": "last"}'
    assert example(line).turns[-1].content == "last"
    assert read(line)[0].raw == line


def test_a_lone_surrogate_is_scored_as_the_replacement_character_and_kept() -> None:
    line = rb'{"prompt": "p", "response": "a\ud800b\ud83d\ude00"}'
    assert example(line).turns[-1].content == "a\ufffdb😀"
    assert read(line)[0].raw == line


def test_a_line_over_the_limit_is_rejected_and_the_next_is_read() -> None:
    long = b'{"prompt": "' + b"x" * 9000 + b'"}'
    exact = b'{"prompt": "' + b"x" * (8000 - 30) + b'", "response":"r"}'
    assert len(exact) == 8000
    for end in (b"\n", b"\r\n"):
        records = read(end.join([GOOD, long, exact, long]), max_record_bytes=8000)
        assert [type(record.outcome) for record in records] == [
            Example, Rejection, Example, Rejection,
        ]  # fmt: skip
        assert isinstance(records[1].outcome, Rejection)
        assert "longer than 8,000 bytes" in records[1].outcome.detail
        assert records[1].raw == long[:4096]


def test_damage_in_the_middle_leaves_the_records_before_it() -> None:
    data = gzip.compress(as_jsonl(ALPACA * 20_000))
    records = iter(read_records(io.BytesIO(data[: len(data) - 40])))
    first = next(records)
    assert isinstance(first.outcome, Example)
    with pytest.raises(DamagedContainer, match=f"near byte {len(data) - 40}"):
        list(records)


def test_the_stream_need_not_seek_nor_fill_its_reads() -> None:
    class Socket(io.RawIOBase):
        def __init__(self, data: bytes) -> None:
            self.rest = data

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            piece, self.rest = self.rest[:100], self.rest[100:]
            buffer[: len(piece)] = piece
            return len(piece)

    for data in (as_jsonl(ALPACA * 9), as_parquet(ALPACA * 9), gzip.compress(as_jsonl(ALPACA))):
        sent = list(read_records(Socket(data)))  # type: ignore[arg-type]
        assert [record.outcome for record in sent] == [record.outcome for record in read(data)]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (b"p", "line 3: 1 cells under 2 columns"),
        (b"p,r,x", "line 3: 3 cells under 2 columns"),
        (b"p,\xff", "line 3: not valid UTF-8"),
        (b'"p"x,r', "line 3: not valid CSV"),
        (b"p,a\rb", "line 3: not valid CSV"),
        (b'p,"' + b"x\n" * 600 + b'"', "longer than 1,024 bytes"),
        (b"p," + b"x" * 3000, "line 3: the record is longer than 1,024 bytes"),
    ],
)
def test_a_bad_csv_row_is_rejected_with_its_line_and_reading_goes_on(
    row: bytes, words: str
) -> None:
    records = read(b"prompt,response\np,r\n" + row + b"\nlast,one\n", max_record_bytes=1024)
    assert isinstance(records[1].outcome, Rejection)
    assert records[1].outcome.reason == "malformed"
    assert words in records[1].outcome.detail
    assert row.startswith(records[1].raw)
    assert isinstance(records[-1].outcome, Example)
    assert [record.row for record in records] == list(range(len(records)))


def test_csv_cells_may_hold_line_breaks_and_quotes_and_lines_are_counted() -> None:
    records = read(b'\xef\xbb\xbfprompt,response\r\n"a\r\nb","say ""x"""\r\n\r\np,r,s\r\nc,d')
    assert orjson.loads(records[0].raw) == {"prompt": "a\r\nb", "response": 'say "x"'}
    assert isinstance(records[1].outcome, Rejection)
    assert records[1].outcome.detail.startswith("line 5:")
    assert isinstance(records[2].outcome, Example)


def test_a_csv_quote_that_is_never_closed_says_how_much_it_takes() -> None:
    found = read(b'prompt,response\np,"r\nq,r\nq,r\n')[0].outcome
    assert isinstance(found, Rejection)
    assert "line 2: a quote is opened and never closed and takes in all 4 lines" in found.detail


def test_a_nul_in_a_cell_is_text() -> None:
    (record,) = read(b"prompt,response\np,a\x00b\n", given="csv")
    assert isinstance(record.outcome, Example)
    assert record.outcome.turns[1].content == "a\x00b"


def test_a_long_csv_cell_is_read() -> None:
    assert len(example(b"prompt,response\np," + b"x" * 300_000).turns[1].content) == 300_000


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"prompt,response,prompt", "names 'prompt' more than once"),
        (b"prompt,response,\xff", "not UTF-8"),
        (b'prompt,response,"x"y', "cannot be read"),
    ],
)
def test_a_csv_header_that_cannot_name_columns_is_refused(header: bytes, words: str) -> None:
    with pytest.raises(UnknownFormat, match=words):
        read(header + b"\np,r,s\n")


def test_parquet_lists_and_null_columns_are_read() -> None:
    table = [
        {"conversations": None, "instruction": "i", "output": "o", "id": 5},
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
        {"instruction": "i", "output": None},
    ]
    found = [record.outcome for record in read(as_parquet(table))]
    assert [type(outcome) for outcome in found] == [Example, Example, Rejection]
    assert found[0].id == "5"  # type: ignore[union-attr]
    assert found[2].detail.startswith("record 3: field")  # type: ignore[union-attr]


def test_parquet_text_that_is_not_utf8_is_one_rejection() -> None:
    broken = pa.Array.from_buffers(
        pa.string(), 3, [None, pa.array([0, 1, 2, 3], pa.int32()).buffers()[1], pa.py_buffer(b"a\xffc")]
    )  # fmt: skip
    table = pa.table({"prompt": ["p", "p", "p"], "response": broken})
    found = [record.outcome for record in read(table_bytes(table))]
    assert [type(outcome) for outcome in found] == [Example, Rejection, Example]
    assert "record 2: a text column is not valid UTF-8" in found[1].detail  # type: ignore[union-attr]


def test_parquet_damage_is_named() -> None:
    data = as_parquet(ALPACA * 500)
    with pytest.raises(DamagedContainer, match="does not end with its mark"):
        read(data[:-9])
    with pytest.raises(DamagedContainer, match="claims"):
        read(data[:-8] + b"\xff\xff\xff\x7fPAR1")
    with pytest.raises(DamagedContainer, match="does not end with its mark"):
        read(b"PAR1")
    with pytest.raises(DamagedContainer, match="cannot be read"):
        read(data[:100] + bytes(400) + data[500:])
    footer = int.from_bytes(data[-8:-4], "little")
    with pytest.raises(DamagedContainer, match="cannot be read"):
        read(data[: -8 - footer] + b"\xff" * footer + data[-8:])


def test_a_parquet_row_over_the_limit_is_rejected_and_the_next_is_read() -> None:
    rows = [{"prompt": "p", "response": "r" * size} for size in (10, 9000, 10)]
    found = [record.outcome for record in read(as_parquet(rows), max_record_bytes=8000)]
    assert [type(outcome) for outcome in found] == [Example, Rejection, Example]
    assert "record 2: the record is longer than 8,000 bytes" in found[1].detail  # type: ignore[union-attr]


@dataclass
class Declared:
    """What a footer says, without the file."""

    num_rows: int
    total_byte_size: int
    num_row_groups: int = 1

    def row_group(self, _: int) -> Declared:
        return self


def test_parquet_sizes_that_cannot_be_are_damage() -> None:
    _check_declared(Declared(10, 4 << 30), 1 << 20)
    _check_declared(Declared(10, 9 << 30), 10 << 20)
    with pytest.raises(DamagedContainer, match="declares 10 rows and 9,663,676,416 bytes"):
        _check_declared(Declared(10, 9 << 30), 1 << 20)


def test_compression_around_parquet_may_not_gain_absurdly() -> None:
    _check_gain(1 << 20, 1 << 30)
    _check_gain(1 << 30, 90 << 30)
    with pytest.raises(DamagedContainer, match="not plausible for Parquet"):
        _check_gain(1 << 20, (1 << 30) + 1)


def test_parquet_columns_must_be_known_and_have_their_own_names() -> None:
    with pytest.raises(UnknownFormat, match="no known columns \\('question'\\)"):
        read(as_parquet([{"question": "q"}]))
    names = ["prompt", "response", "response"]
    twice = pa.table([pa.array([name]) for name in names], names)
    with pytest.raises(UnknownFormat, match="more than one column named 'response'"):
        read(table_bytes(twice))
