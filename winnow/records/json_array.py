"""A JSON array of any size, cut into its elements without parsing them.

The bytes of every element are kept (numbers as written, duplicate keys, escapes), which no parser that builds values
can do. One regular expression takes a whole element when it is flat or nested a little and lies in the buffer; anything
else goes through a scanner that knows only depth and strings and stops at any byte.

Outcome of damage: between elements it is `DamagedContainer` with the offset, since nothing after it can be trusted;
inside an element whose end is clear it is a rejection of that row.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NoReturn

from winnow.errors import DamagedContainer
from winnow.records.example import Example, Rejection
from winnow.records.formats import BOM
from winnow.records.outcomes import KEPT_BYTES, read_outcome, reject_too_long
from winnow.records.record import Record

CHUNK_BYTES = 1 << 18

# Possessive throughout: an element that does not end in the buffer fails in linear time.
_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_FLAT = rb'(?:[^"\[\]{}]++|' + _STRING + rb")*+"
_NESTED = rb'(?:[^"\[\]{}]++|' + _STRING + rb"|[\[{]" + _FLAT + rb"[\]}])*+"
_WHOLE = re.compile(rb"[\[{]" + _NESTED + rb"[\]}]|" + _STRING, re.DOTALL)
_OUTSIDE = re.compile(rb'[^"\[\]{}]*+')
_INSIDE = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_SCALAR = re.compile(rb"[^,\]\[{}\"]*+")
_SPACE = re.compile(rb"[ \t\r\n]*+")
_LINE_BREAKS = re.compile(rb"[\r\n][ \t\r\n]*+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """The bytes of one array element; only their beginning if it was `too_long`."""

    raw: bytes
    too_long: bool = False


def read_json_array(stream: io.BufferedReader, *, max_record_bytes: int) -> Iterator[Record]:
    """Yield one record for each element of the array in `stream`."""
    for row, element in enumerate(split_array(stream, max_element_bytes=max_record_bytes)):
        where = f"record {row + 1}"
        outcome: Example | Rejection
        if element.too_long:
            outcome = reject_too_long(max_record_bytes, row=row, where=where)
        else:
            outcome = read_outcome(element.raw, row=row, where=where)
        yield Record(row=row, raw=_one_line(element.raw), outcome=outcome)


def split_array(
    stream: BinaryIO | io.BufferedReader, *, max_element_bytes: int, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[Element]:
    """Yield the elements of the array; memory stays at one chunk and one element.

    Raises:
        DamagedContainer: not an array, no end, or something other than one comma between elements.
    """
    splitter = _Splitter(stream, max_element_bytes, chunk_bytes)
    splitter.open_array()
    if splitter.peek() == b"]":
        splitter.close_array()
        return
    number = 0
    while True:
        number += 1
        yield splitter.element(number)
        separator = splitter.peek()
        if separator == b"]":
            splitter.close_array()
            return
        if separator != b",":
            splitter.damaged(f"a comma or ']' is missing after record {number}")
        splitter.pos += 1


def _one_line(raw: bytes) -> bytes:
    """The element without line breaks; inside a JSON string there are none."""
    return _LINE_BREAKS.sub(b"", raw) if b"\n" in raw or b"\r" in raw else raw


class _Splitter:
    """A window over the stream: `buffer[pos:]` is what comes next, `base` the offset of the buffer in the stream."""

    def __init__(self, stream: BinaryIO | io.BufferedReader, max_bytes: int, chunk: int) -> None:
        self.stream = stream
        self.max_bytes = max_bytes
        self.chunk = chunk
        self.buffer = b""
        self.pos = 0
        self.base = 0

    def more(self) -> bool:
        """Drop what was consumed and read on; False at the end of the stream."""
        data = self.stream.read(self.chunk)
        self.buffer = self.buffer[self.pos :] + data
        self.base += self.pos
        self.pos = 0
        return bool(data)

    def peek(self) -> bytes:
        """The next byte that is not white space, unconsumed; b"" at the end of the stream."""
        while True:
            self.pos = _SPACE.match(self.buffer, self.pos).end()  # type: ignore[union-attr]
            if self.pos < len(self.buffer):
                return self.buffer[self.pos : self.pos + 1]
            if not self.more():
                return b""

    def open_array(self) -> None:
        while len(self.buffer) < len(BOM) and self.more():
            pass
        if self.buffer.startswith(BOM):
            self.pos = len(BOM)
        if self.peek() != b"[":
            self.damaged("a JSON array begins with '['")
        self.pos += 1

    def close_array(self) -> None:
        self.pos += 1
        if self.peek():
            self.damaged("something follows the end of the array")

    def element(self, number: int) -> Element:
        first = self.peek()
        if first in {b"", b",", b"]", b"}"}:
            self.damaged(f"record {number} is missing (is there a comma too many?)")
        whole = _WHOLE.match(self.buffer, self.pos)
        if whole is not None:
            self.pos = whole.end()
            raw = whole.group()
            return Element(raw=raw[: self._kept(len(raw))], too_long=len(raw) > self.max_bytes)
        return self._scan(number, scalar=first not in {b'"', b"[", b"{"})

    def _kept(self, length: int) -> int:
        return KEPT_BYTES if length > self.max_bytes else length

    def _scan(self, number: int, *, scalar: bool) -> Element:
        """Take an element piece by piece, reading on wherever the buffer ends."""
        start = self.base + self.pos
        kept, length = bytearray(), 0
        nesting = _Nesting()
        while True:
            if scalar:
                end = _SCALAR.match(self.buffer, self.pos).end()  # type: ignore[union-attr]
                done = end < len(self.buffer)
            else:
                end, done = nesting.advance(self.buffer, self.pos)
            length += end - self.pos
            if length <= self.max_bytes:
                kept += self.buffer[self.pos : end]
            elif len(kept) < KEPT_BYTES:
                kept += self.buffer[self.pos : min(end, self.pos + KEPT_BYTES)]
            self.pos = end
            if done:
                raw = bytes(kept[: self._kept(length)])
                return Element(
                    raw=raw.rstrip() if scalar else raw, too_long=length > self.max_bytes
                )
            if not self.more():
                self.damaged(
                    f"the array is not closed: record {number}, at byte {start}, has no end"
                )

    def damaged(self, why: str) -> NoReturn:
        raise DamagedContainer(
            f"The JSON array is damaged at byte {self.base + self.pos}: {why}. Write the file again, or send JSONL, "
            "where a broken line costs one record."
        )


class _Nesting:
    """How deep the scanner is, and whether in a string: all it must remember between chunks."""

    def __init__(self) -> None:
        self.depth = 0
        self.in_string = False

    def advance(self, buffer: bytes, pos: int) -> tuple[int, bool]:
        """Go on from `pos`; return where it stopped, and whether the element ended there."""
        size = len(buffer)
        while pos < size:
            skip = _INSIDE if self.in_string else _OUTSIDE
            pos = skip.match(buffer, pos).end()  # type: ignore[union-attr]
            if (
                pos == size or buffer[pos : pos + 1] == b"\\"
            ):  # an escape that goes on in the next chunk
                break
            byte = buffer[pos : pos + 1]
            pos += 1
            if byte == b'"':
                self.in_string = not self.in_string
            else:
                self.depth += 1 if byte in b"[{" else -1
            if self.depth == 0 and not self.in_string:
                return pos, True
        return pos, False
