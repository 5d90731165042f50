"""The first 64 KiB tell the format, or say what to do instead."""

from __future__ import annotations

import gzip
import hashlib

import pytest

from tests.records.samples import ALPACA, COMPRESSIONS, CONTAINERS, RECORDS, as_jsonl
from winnow.errors import DamagedContainer, InvalidOption, UnknownFormat
from winnow.records.formats import FORMAT_NAMES, HEAD_BYTES, Format, sniff


@pytest.mark.parametrize("schema", RECORDS)
@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_each_container_is_detected_in_each_compression(
    container: str, compression: str, schema: str
) -> None:
    data = COMPRESSIONS[compression](CONTAINERS[container](RECORDS[schema]))
    suffix = "" if compression == "none" else f"+{compression}"
    assert str(sniff(data[:HEAD_BYTES])) == container + suffix
    assert sniff(data[:HEAD_BYTES], given=container) == sniff(data[:HEAD_BYTES])


def test_in_a_table_of_one_column_the_first_row_shows_the_delimiter() -> None:
    assert sniff(b'messages\n"[{""role"": ""user"", ""content"": ""a""}]"\n').container == "csv"
    assert sniff(b"messages\n[{'role': 'user', 'content': 'a'}]\n").container == "tsv"


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_compressed_head_that_is_cut_anywhere_is_enough(compression: str) -> None:
    digests = (hashlib.sha256(bytes([i % 256, i // 256])).hexdigest() for i in range(20_000))
    lines = as_jsonl({"prompt": digest, "response": "r"} for digest in digests)
    data = COMPRESSIONS[compression](lines)
    assert len(data) > HEAD_BYTES
    assert sniff(data[:HEAD_BYTES]).container == "jsonl"


def test_a_head_that_expands_hugely_is_read_only_as_far_as_needed() -> None:
    bomb = COMPRESSIONS["zstd"](b'{"prompt": "p"}\n' + b" " * (100 << 20))
    assert sniff(bomb[:HEAD_BYTES]) == Format(container="jsonl", compression="zstd")


@pytest.mark.parametrize(
    "data",
    [
        b'\xef\xbb\xbf{"prompt": "p"}',
        b'\r\n\n  {"prompt": "p"}\n',
        b'{"prompt": "p"}',
        b'{"prompt": broken}\n{"prompt": "p"}\n',
        b'{"prompt":\n{"prompt": "p"}\n',
        b'{"prompt": broken\n{"prompt": also broken\n',
        b'{"prompt": "' + b"long" * HEAD_BYTES,
    ],
)
def test_lines_that_begin_with_a_brace_are_jsonl_even_if_broken(data: bytes) -> None:
    assert sniff(data[:HEAD_BYTES]).container == "jsonl"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf \n", "empty"),
        (b"hello world", "not recognised"),
        (b"question,answer\n1,2\n", "'question', 'answer'"),
        (b"instruction;output\n1;2\n", "not recognised"),
        (b"instruction,input\n1,2\n", "no known columns"),
        (b'{\n  "instruction": "i",\n  "output": "o"\n}\n', "over several lines"),
        (b'{"data": [\n  {"instruction": "i"},\n  {"instruction": "j"}\n]}', "over several lines"),
        ("\ufeff[{}]".encode("utf-16-le"), "UTF-16"),
        ("[{}]".encode("utf-16-le"), "UTF-16"),
        ("[{}]".encode("utf-16-be"), "UTF-16"),
        (b"PK\x03\x04...", "zip"),
        (b"BZh91AY", "bzip2"),
        (b"\xfd7zXZ\x00...", "xz"),
        (b"ARROW1\0\0", "Arrow IPC"),
        (gzip.compress(gzip.compress(b"[]")), "compressed twice"),
        (gzip.compress(b""), "empty"),
    ],
)
def test_what_is_no_known_format_is_refused_with_a_remedy(data: bytes, words: str) -> None:
    with pytest.raises(UnknownFormat, match=words):
        sniff(data)


def test_damage_at_the_very_beginning_of_compressed_data_is_named() -> None:
    with pytest.raises(DamagedContainer, match="gzip"):
        sniff(b"\x1f\x8b\x08\xff\xff\xff")
    with pytest.raises(DamagedContainer, match="zstd"):
        sniff(b"\x28\xb5\x2f\xfd\xff\xff\xff\xff\xff\xff")


@pytest.mark.parametrize(
    ("given", "data", "words"),
    [
        ("parquet", b"[]", "does not begin"),
        ("jsonl", b"PAR1", "begins"),
        ("json", b"{}", "format=jsonl"),
        ("csv", b"a,b\n1,2\n", "no known columns"),
        ("tsv", b"instruction,output\n1,2\n", "no known columns"),
        ("csv", b"instruction;output\n1;2\n", "semicolons"),
    ],
)
def test_a_given_format_that_cannot_be_is_refused(given: str, data: bytes, words: str) -> None:
    with pytest.raises(UnknownFormat, match=words):
        sniff(data, given=given)


def test_a_given_format_overrides_what_the_bytes_look_like() -> None:
    assert sniff(b"garbage\n", given="jsonl").container == "jsonl"


def test_an_unknown_name_of_a_format_is_an_invalid_option() -> None:
    with pytest.raises(InvalidOption, match="must be one of auto, json") as caught:
        sniff(as_jsonl(ALPACA), given="xml")
    assert caught.value.param == "format"
    assert FORMAT_NAMES == ("auto", "json", "jsonl", "csv", "tsv", "parquet")
