"""One JSON text parsed, with a defined outcome for everything that producers of data get wrong.

- A lone surrogate as an escape is parsed; U+FFFD replaces it where a turn is made of it.
- An integer of any length is parsed: exact where it is an `id`, and as written in the record.
- Of duplicate keys the last is scored; the record keeps all.
- NaN, Infinity, bytes that are not UTF-8 and nesting of more than `MAX_DEPTH` levels are malformed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, NoReturn

import orjson

MAX_DEPTH = 200
"""Levels of objects and lists in a record. Writers of JSON end at 254, in the middle of a file that they have begun."""

_MAX_DIGITS = 4300  # Python refuses to convert longer decimal strings, for the time that takes


_ESCAPES = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
)


class NumberText(str):
    """A number as it was written."""

    __slots__ = ()


class MalformedJson(ValueError):
    """The text is not JSON; the message says why and what to do, without a full stop."""


def parse_json(text: bytes) -> object:
    """Parse one JSON text.

    Raises:
        MalformedJson: it is not JSON, or nested too deeply.
    """
    try:
        value: object = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = _parse_slowly(text)
    else:
        if isinstance(value, dict) and isinstance(value.get("id"), float):
            value = _parse_slowly(text)  # orjson rounds long integers; an id must stay exact
    if text.count(b"[") + text.count(b"{") > MAX_DEPTH and _is_deep(value):
        raise _too_deep()
    return value


def parse_record(text: bytes) -> dict[str, Any]:
    """Parse a usable record for output: integers exact, lone surrogates replaced."""
    record: dict[str, Any] = json.loads(_encodable(text), parse_int=_parse_int)
    return record


def parse_as_written(text: bytes) -> dict[str, Any]:
    """Parse a usable record with every number as `NumberText`."""
    record: dict[str, Any] = json.loads(
        _encodable(text), parse_int=NumberText, parse_float=NumberText
    )
    return record


def dump_as_written(value: object) -> bytes:
    """JSON of a value from `parse_as_written`, its numbers as they were."""
    return orjson.dumps(value, default=_number, option=orjson.OPT_PASSTHROUGH_SUBCLASS)


def _number(value: object) -> orjson.Fragment:
    assert isinstance(value, NumberText), "JSON has no other values"  # noqa: S101
    return orjson.Fragment(str(value))


def _encodable(text: bytes) -> bytes:
    """The text with U+FFFD for surrogates that are half of nothing: they have no UTF-8."""
    if b"\\ud" not in text and b"\\uD" not in text:
        return text
    return _ESCAPES.sub(lambda match: b"\\ufffd" if match[1] else match[0], text)


def _parse_slowly(text: bytes) -> object:
    try:
        return json.loads(text.decode(), parse_constant=_refuse_constant, parse_int=_parse_int)
    except UnicodeDecodeError as error:
        raise MalformedJson(
            f"byte {error.start + 1} is not valid UTF-8; save the file as UTF-8"
        ) from error
    except json.JSONDecodeError as error:
        raise MalformedJson(
            f"not valid JSON at character {error.pos + 1} ({error.msg}); correct it or remove it"
        ) from error
    except RecursionError as error:
        raise _too_deep() from error


def _too_deep() -> MalformedJson:
    return MalformedJson(f"it is nested more than {MAX_DEPTH} levels deep; flatten it")


def _is_deep(value: object) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for item in level for child in _children(item)]
        if not level:
            return False
    return any(isinstance(item, dict | list) for item in level)


def _children(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _parse_int(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedJson(f"{name} is not JSON; write null or a number instead")
