"""Which container a file is, from its first bytes.

A file is a container (JSON array, JSONL, CSV, TSV, Parquet), plain or compressed. The record schema (Alpaca,
messages, ...) is found per record in `winnow.records.schemas`: one file may mix them.

Not covered: a JSON object around the records (`{"data": [...]}`), an object written over several lines, UTF-16,
archives. Each is refused here, with what to do.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
from dataclasses import dataclass
from typing import Literal, get_args

import orjson

from winnow.errors import DamagedContainer, InvalidOption, UnknownFormat
from winnow.records.compression import Compression, decompress, detect_compression
from winnow.records.schemas import has_known_columns

Container = Literal["json", "jsonl", "csv", "tsv", "parquet"]

FORMAT_NAMES: tuple[str, ...] = ("auto", *get_args(Container))
"""What a user may give as `format`."""

HEAD_BYTES = 1 << 16
"""How much of a file, as sent, decides its format."""

DELIMITERS: dict[Container, str] = {"csv": ",", "tsv": "\t"}
BOM = b"\xef\xbb\xbf"
PARQUET_MAGIC = b"PAR1"

_OTHER_MAGIC: tuple[tuple[tuple[bytes, ...], str], ...] = (
    (
        (b"PK\x03\x04", b"PK\x05\x06"),
        "This is a zip archive (or a spreadsheet). Send the file in it",
    ),
    ((b"BZh",), "This is bzip2. Compress with gzip or zstd instead"),
    ((b"\xfd7zXZ\x00",), "This is xz. Compress with gzip or zstd instead"),
    ((b"ARROW1", b"\xff\xff\xff\xff"), "This is Arrow IPC. Write it as Parquet"),
    ((b"\xff\xfe", b"\xfe\xff"), "The text is UTF-16. Save it as UTF-8"),
    ((b"\x1f\x8b", b"\x28\xb5\x2f\xfd"), "The file is compressed twice. Compress it once"),
)
_KNOWN = (
    "Send a JSON array, JSONL, CSV, TSV or Parquet, plain, gzip or zstd, or name it with format=."
)
_MIN_LINES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A container and how it is compressed; as text `jsonl`, `json+gzip`."""

    container: Container
    compression: Compression = "none"

    def __str__(self) -> str:
        if self.compression == "none":
            return self.container
        return f"{self.container}+{self.compression}"


def sniff(head: bytes, *, given: str = "auto") -> Format:
    """Tell the format of a file from its first `HEAD_BYTES` bytes as sent; `given` names the container.

    Raises:
        UnknownFormat: nothing was recognised, or the beginning contradicts `given`.
        DamagedContainer: the compression is damaged at its very beginning.
        InvalidOption: `given` is not one of `FORMAT_NAMES`.
    """
    if given not in FORMAT_NAMES:
        raise InvalidOption(
            f"format must be one of {', '.join(FORMAT_NAMES)}; got {given!r}.", param="format"
        )
    compression = detect_compression(head)
    text = head if compression == "none" else _decompress_head(head, compression)
    _refuse_other(text)
    text = text.removeprefix(BOM)
    detected = _detect(text) if given == "auto" else _check_given(text, given)
    return Format(container=detected, compression=compression)


def _decompress_head(head: bytes, compression: Compression) -> bytes:
    pieces = bytearray()
    try:
        for piece in decompress(io.BytesIO(head), compression):
            pieces += piece[:HEAD_BYTES]
            if len(pieces) >= HEAD_BYTES:
                break
    except DamagedContainer:
        # A head is cut anywhere, so its end always looks damaged; only a head without any content is.
        if not pieces and len(head) < HEAD_BYTES:
            raise
    return bytes(pieces)


def _refuse_other(text: bytes) -> None:
    for magics, message in _OTHER_MAGIC:
        if text.startswith(magics):
            raise UnknownFormat(f"{message}.")
    if not text.removeprefix(BOM).strip():
        raise UnknownFormat(f"The file is empty. {_KNOWN}")
    if text[:1] == b"\0" or text[1:2] == b"\0":
        raise UnknownFormat("The text seems to be UTF-16. Save it as UTF-8.")


def _check_given(text: bytes, given: str) -> Container:
    """The named container, unless the first bytes make it impossible."""
    starts = text.lstrip()[:1]
    if (given == "parquet") != text.startswith(PARQUET_MAGIC):
        raise UnknownFormat(
            f"format={given} was given, but the file {'does not begin' if given == 'parquet' else 'begins'} "
            "with the Parquet mark PAR1. Leave format out to have it detected."
        )
    if given == "json" and starts != b"[":
        raise UnknownFormat(
            "format=json was given, but a JSON array begins with '['. Use format=jsonl for one object a line."
        )
    container: Container = next(name for name in get_args(Container) if name == given)
    if container in DELIMITERS and not has_known_columns(
        columns := _first_rows(text, container)[0]
    ):
        raise UnknownFormat(_unknown_columns(columns))
    return container


def _detect(text: bytes) -> Container:
    if text.startswith(PARQUET_MAGIC):
        return "parquet"
    starts = text.lstrip()[:1]
    if starts == b"[":
        return "json"
    if starts == b"{":
        _refuse_object_over_lines(text)
        return "jsonl"
    rows = {name: _first_rows(text, name) for name in DELIMITERS}
    known = [name for name in DELIMITERS if has_known_columns(rows[name][0])]
    if known:
        # One column has no delimiter in its header: the first row shows whether commas separate or are text.
        return next((name for name in known if len(set(map(len, rows[name]))) == 1), known[0])
    if any(map(_is_object, text.split(b"\n"))):
        # Objects after lines that are not JSON: those lines are rejections, the file is not refused for them.
        return "jsonl"
    widest = max((found[0] for found in rows.values()), key=len)
    raise UnknownFormat(_unknown_columns(widest) if len(widest) > 1 else None)


def _first_rows(text: bytes, container: Container) -> list[list[str]]:
    """The header, [] if it cannot be one, and the row under it if there is one."""
    lines = io.StringIO(text.decode("utf-8", "replace"), newline="")
    rows: list[list[str]] = []
    with contextlib.suppress(csv.Error):
        rows.extend(itertools.islice(csv.reader(lines, delimiter=DELIMITERS[container]), 2))
    return rows or [[]]


def _unknown_columns(columns: list[str]) -> str:
    shown = ", ".join(repr(name[:40]) for name in columns[:8])
    if len(columns) == 1 and ";" in columns[0]:
        return "The columns seem to be separated by semicolons. Save the file with commas or tabs."
    return (
        f"The first row has no known columns ({shown}). Name them instruction and output, prompt and completion, "
        "messages, or conversations."
    )


def _refuse_object_over_lines(text: bytes) -> None:
    """JSONL may have broken lines; an object over several lines has no line that is an object."""
    lines = [line for line in text.split(b"\n") if line.strip()]
    if len(lines) < _MIN_LINES or any(_is_object(line) for line in lines):
        return
    if lines[0].rstrip().endswith((b"{", b"[", b",")):
        raise UnknownFormat(
            "The file is a JSON object written over several lines. Write one object a line (JSONL), or all "
            "records in one array: [{...}, {...}]."
        )


def _is_object(line: bytes) -> bool:
    if not line.startswith(b"{"):
        return False
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False
