"""A request body as a stream of dataset bytes, and the options that came along with them.

A dataset may come as a multipart field `file`, as the raw body under any Content-Type (curl sends
`application/x-www-form-urlencoded` unless told otherwise), or as `records` of a JSON object; the same object, or a
form, may name a stored `dataset` instead. Nothing is spooled: multipart is parsed as it arrives, and only a JSON
object with options is held in memory, up to `MAX_OBJECT_BYTES`.

A body that begins with `{` is an object of options if its own keys say so (`dataset` or `records`, and no field that
records have); otherwise it is data, for JSONL begins like that too.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import TypeVar
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from service.form import Form
from winnow.errors import InputError, TooLarge, UnknownFormat

HEAD_BYTES = 64 * 1024
MAX_OBJECT_BYTES = 16 * 1024**2
MAX_JSON_BYTES = 1024**2
"""A request that carries no dataset."""

MULTIPART_SLACK_BYTES = 1024**2
"""What boundaries, headers and option fields may add to the largest upload."""

RECORD_FIELDS = {"instruction", "prompt", "messages", "conversations"}
ENCODINGS = {"", "identity", "gzip", "zstd"}

Asked = TypeVar("Asked", bound=BaseModel)


async def read_json(request: Request, kind: type[Asked]) -> Asked:
    """The JSON body of a request, whatever Content-Type it came under.

    Raises:
        TooLarge: it is longer than such a request can be.
        RequestValidationError: it is no JSON, or not of this kind; each problem names its place.
    """
    text = bytearray()
    async for chunk in request.stream():
        text += chunk
        if len(text) > MAX_JSON_BYTES:
            raise TooLarge(f"The body may have {MAX_JSON_BYTES} bytes.")
    with located_in_body():
        return kind.model_validate_json(bytes(text))


@contextmanager
def located_in_body() -> Iterator[None]:
    """What pydantic refuses in here was found in the body of the request."""
    try:
        yield
    except ValidationError as error:
        located = [{**entry, "loc": ("body", *entry["loc"])} for entry in error.errors()]
        raise RequestValidationError(located) from error


class Body:
    """One request body. `options` and `filename` are complete once `chunks` is exhausted."""

    def __init__(self, request: Request, *, max_bytes: int, option_names: frozenset[str]) -> None:
        self.options: dict[str, object] = {}
        self.filename: str | None = None
        self._request = request
        self._option_names = option_names
        media_type, parameters = parse_options_header(request.headers.get("content-type"))
        self._media_type = media_type.decode("latin-1")
        self._boundary = parameters.get(b"boundary")
        multipart = self._media_type == "multipart/form-data"
        self._max_bytes = max_bytes + (MULTIPART_SLACK_BYTES if multipart else 0)
        if request.headers.get("content-encoding", "").strip().lower() not in ENCODINGS:
            raise UnknownFormat("Only gzip and zstd are understood as Content-Encoding.")

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes of the dataset as they arrive; nothing if the body has options only."""
        if self._media_type == "multipart/form-data":
            async for chunk in self._multipart():
                yield chunk
            return
        received = self._received()
        head = await _head(received)
        if self._is_form(head):
            self.options.update(parse_qsl(head.decode("utf-8", "replace")))
        elif _is_object(head):
            for chunk in self._object(await _whole(head, received)):
                yield chunk
        elif head:
            yield head
            async for chunk in received:
                yield chunk

    async def _received(self) -> AsyncIterator[bytes]:
        """What the client sends, up to the limit, whether or not it said the length."""
        too_large = TooLarge(f"The body is larger than {self._max_bytes} bytes.")
        if int(self._request.headers.get("content-length", 0)) > self._max_bytes:
            raise too_large
        received = 0
        async for chunk in self._request.stream():
            received += len(chunk)
            if received > self._max_bytes:
                raise too_large
            yield chunk

    def _is_form(self, head: bytes) -> bool:
        if self._media_type != "application/x-www-form-urlencoded" or len(head) >= HEAD_BYTES:
            return False
        names = {name for name, _ in parse_qsl(head.decode("latin-1"))}
        return bool(names) and names <= self._option_names

    def _object(self, text: bytes) -> Iterator[bytes]:
        """The options of a JSON object; its `records` are handed on as they were written."""
        try:
            members, whole = _members(text.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise InputError("The body is not UTF-8.") from error
        if not whole:
            raise InputError("The body is not one whole JSON object.")
        records = members.pop("records", None)
        self.options.update({name: json.loads(value) for name, value in members.items()})
        if records is not None:
            yield records.encode()

    async def _multipart(self) -> AsyncIterator[bytes]:
        if not self._boundary:
            raise InputError("A multipart body needs a boundary in its Content-Type.")
        form = Form(self._boundary)
        try:
            async for chunk in self._received():
                data = form.feed(chunk)
                self.options.update(form.fields)
                for piece in data:
                    yield piece
        except FormParserError as error:
            raise InputError(f"The multipart body is broken: {error}.") from error
        if not form.ended:
            raise InputError("The multipart body ends before its last boundary.")
        self.filename = form.filename


async def _head(received: AsyncIterator[bytes]) -> bytes:
    """The first bytes: enough to tell what the body is."""
    head = bytearray()
    async for chunk in received:
        head += chunk
        if len(head) >= HEAD_BYTES:
            break
    return bytes(head)


async def _whole(head: bytes, received: AsyncIterator[bytes]) -> bytes:
    """The rest as well, for a JSON object that is read in one piece."""
    whole = bytearray(head)
    async for chunk in received:
        whole += chunk
        if len(whole) > MAX_OBJECT_BYTES:
            raise TooLarge(
                f"A JSON object with records may have {MAX_OBJECT_BYTES} bytes. Send the records as a file: "
                "the raw body, or the multipart field 'file'."
            )
    return bytes(whole)


def _is_object(head: bytes) -> bool:
    """Whether a body is an object of options rather than a record."""
    members, _ = _members(head.decode("utf-8-sig", "replace"))
    return bool({"dataset", "records"} & members.keys()) and not RECORD_FIELDS & members.keys()


def _members(text: str) -> tuple[dict[str, str], bool]:
    """The members of a JSON object, each value as it was written, and whether `text` is one whole object.

    A text that is cut off still tells its names; the value that was cut is then empty.
    """
    members: dict[str, str] = {}
    position, delimiter = 0, "{"
    try:
        while delimiter != "}":
            name, position = _DECODER.raw_decode(text, _skip(text, position, delimiter))
            if not isinstance(name, str):
                return members, False
            members[name] = ""
            start = _skip(text, position, ":")
            _, position = _DECODER.raw_decode(text, start)
            members[name] = text[start:position]
            position = _skip(text, position, "")
            delimiter = "}" if text.startswith("}", position) else ","
    except (ValueError, RecursionError):
        return members, False
    return members, not text[position + 1 :].strip()


def _skip(text: str, position: int, expected: str) -> int:
    """The position after `expected` and the white space around it."""
    position = _SPACE.match(text, position).end()  # type: ignore[union-attr]  # matches everywhere
    if not text.startswith(expected, position):
        raise ValueError(f"{expected!r} expected at character {position}")
    return _SPACE.match(text, position + len(expected)).end()  # type: ignore[union-attr]


_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\r\n]*")
