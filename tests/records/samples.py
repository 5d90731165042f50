"""Small datasets as bytes, in every container, and what they must be read as."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from winnow.records.blocks import BlockReader, BlockWriter
from winnow.records.example import Example, Rejection, Turn
from winnow.records.readers import MAX_RECORD_BYTES, read_records
from winnow.records.record import Record

ALPACA = [
    {"instruction": "Add.", "input": "1, 2", "output": "3", "source": "math", "id": "a-1"},
    {
        "instruction": "Größe 😀?",
        "input": "",
        "output": 'vier, "fünf"\nsechs',
        "source": "",
        "id": "",
    },
]
PROMPT = [
    {"prompt": "Say hi", "completion": "hi", "extra": "kept"},
    {"prompt": "Say ho", "completion": "ho", "extra": ""},
]
MESSAGES = [
    {
        "id": "m",
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Hello?"},
            {"role": "assistant", "content": "Hello!"},
            {"role": "user", "content": "More [of {this\\"},
            {"role": "assistant", "content": "Gladly."},
        ],
    }
]
SHAREGPT = [
    {
        "id": "s",
        "conversations": [{"from": "human", "value": "Ping"}, {"from": "gpt", "value": "Pong"}],
    }
]

TURNS: dict[str, list[tuple[Turn, ...]]] = {
    "alpaca": [
        (
            Turn(role="user", content="Add."),
            Turn(role="user", content="1, 2"),
            Turn(role="assistant", content="3"),
        ),
        (
            Turn(role="user", content="Größe 😀?"),
            Turn(role="assistant", content='vier, "fünf"\nsechs'),
        ),
    ],
    "prompt": [
        (Turn(role="user", content=f"Say {word}"), Turn(role="assistant", content=word))
        for word in ("hi", "ho")
    ],
    "messages": [
        tuple(Turn(role=item["role"], content=item["content"]) for item in MESSAGES[0]["messages"])  # type: ignore[arg-type]
    ],
    "sharegpt": [(Turn(role="user", content="Ping"), Turn(role="assistant", content="Pong"))],
}
IDS = {"alpaca": ["a-1", None], "prompt": [None, None], "messages": ["m"], "sharegpt": ["s"]}
RECORDS: dict[str, list[dict[str, Any]]] = {
    "alpaca": ALPACA,
    "prompt": PROMPT,
    "messages": MESSAGES,
    "sharegpt": SHAREGPT,
}


def as_jsonl(records: Iterable[Mapping[str, Any]]) -> bytes:
    return b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in records)


def as_json(records: Sequence[Mapping[str, Any]]) -> bytes:
    return json.dumps(records, indent=2).encode()


def as_csv(records: Sequence[Mapping[str, Any]], delimiter: str = ",") -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(records[0])
    for record in records:
        writer.writerow(
            value if isinstance(value, str) else json.dumps(value) for value in record.values()
        )
    return text.getvalue().encode()


def as_tsv(records: Sequence[Mapping[str, Any]]) -> bytes:
    return as_csv(records, "\t")


def as_parquet(records: Sequence[Mapping[str, Any]]) -> bytes:
    return table_bytes(pa.Table.from_pylist([dict(record) for record in records]))


def table_bytes(table: pa.Table, **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()


CONTAINERS: dict[str, Callable[[Sequence[Mapping[str, Any]]], bytes]] = {
    "jsonl": as_jsonl,
    "json": as_json,
    "csv": as_csv,
    "tsv": as_tsv,
    "parquet": as_parquet,
}
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
}


def read(
    data: bytes, *, given: str = "auto", max_record_bytes: int = MAX_RECORD_BYTES
) -> list[Record]:
    return list(read_records(io.BytesIO(data), given=given, max_record_bytes=max_record_bytes))


def example(data: bytes) -> Example:
    """The one record of `data`, which must be usable."""
    (record,) = read(data)
    assert isinstance(record.outcome, Example), record.outcome
    return record.outcome


def rejection(data: bytes) -> Rejection:
    """The one record of `data`, which must be rejected."""
    (record,) = read(data)
    assert isinstance(record.outcome, Rejection), record.outcome
    return record.outcome


def store(folder: Path, records: Iterable[Record]) -> BlockReader:
    """The records written as blocks below `folder`."""
    fs = fsspec.filesystem("file")
    with BlockWriter(fs, str(folder)) as writer:
        for record in records:
            writer.write(record)
    return BlockReader(fs, str(folder))
