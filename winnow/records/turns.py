"""A list of turns, as `messages` and ShareGPT write them, read strictly.

Not covered: tool calls and tool results, images, audio. They are `wrong_type`: their text alone is not what a model
would be trained on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from winnow.records.example import RejectionReason, Role, Turn
from winnow.records.json_text import MalformedJson, parse_json

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
}
_TOOL_ROLES = {"tool", "function", "function_call", "function_response", "observation", "ipython"}
_SURROGATES = re.compile("[\ud800-\udfff]")


class Unusable(Exception):
    """Why the record at hand has no answer to score; the text goes to the user, without a full stop."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = RejectionReason(reason)


def read_turns(value: object, field: str) -> tuple[Turn, ...]:
    """Read the turns of `field`, at least one of them an answer.

    Raises:
        Unusable: names the turn and what is wrong with it.
    """
    items = _list(value, field)
    turns = tuple(_turn(item, f'"{field}"[{i}]') for i, item in enumerate(items))
    answers = [turn.content for turn in turns if turn.role == "assistant"]
    if not answers:
        raise Unusable("no_answer", f'"{field}" has no assistant turn; add the answer to be learnt')
    if not any(answers):
        raise Unusable(
            "empty_answer", f'every assistant turn of "{field}" is empty; give an answer'
        )
    return turns


def _list(value: object, field: str) -> Sequence[object]:
    found = value
    if isinstance(value, str):
        try:
            found = parse_json(value.encode("utf-8", "surrogatepass"))
        except MalformedJson:
            found = value
    if isinstance(found, list | tuple):
        return found
    raise Unusable("wrong_type", f'field "{field}" is {kind_of(found)}, not a list of turns')


def _turn(item: object, name: str) -> Turn:
    if not isinstance(item, Mapping):
        raise Unusable(
            "wrong_type", f'{name} is {kind_of(item)}, not an object with "role" and "content"'
        )
    role = _role(_first(item, "role", "from"), name)
    content = _first(item, "content", "value")
    if content is None and item.get("tool_calls"):
        raise Unusable(
            "wrong_type", f"{name} calls a tool, which cannot be scored; leave the record out"
        )
    if isinstance(content, list | tuple):
        return Turn(role=role, content="".join(_part(part, name) for part in content))
    return Turn(role=role, content=read_text(content, f"the content of {name}"))


def _first(item: Mapping[str, Any], *names: str) -> object:
    return next((item[name] for name in names if item.get(name) is not None), None)


def _role(value: object, name: str) -> Role:
    if value is None:
        raise Unusable("missing_field", f"{name} has no role; name it system, user or assistant")
    if not isinstance(value, str):
        raise Unusable("wrong_type", f"the role of {name} is {kind_of(value)}, not a string")
    role = _ROLES.get(value) or _ROLES.get(value.lower())
    if role is not None:
        return role
    if value.lower() in _TOOL_ROLES:
        raise Unusable(
            "wrong_type", f"{name} is a {value.lower()} turn, which cannot be scored; leave it out"
        )
    raise Unusable(
        "wrong_type", f"the role of {name} is {value[:40]!r}, not system, user or assistant"
    )


def _part(part: object, name: str) -> str:
    """The text of one part of a content list; parts are `{"type": "text", "text": ...}` or plain strings."""
    if isinstance(part, str):
        return clean(part)
    if not isinstance(part, Mapping):
        raise Unusable("wrong_type", f"{name} has a part that is {kind_of(part)}, not text")
    kind = part.get("type")
    if kind is not None and kind not in {"text", "input_text", "output_text"}:
        raise Unusable(
            "wrong_type", f"{name} has a part of type {str(kind)[:40]!r}; only text can be scored"
        )
    return read_text(part.get("text"), f"a part of {name}")


def read_text(value: object, name: str) -> str:
    """Return `value` if it is text, fit for UTF-8; `name` is what an error calls it."""
    if isinstance(value, str):
        return value if value.isascii() else clean(value)
    if value is None:
        raise Unusable("missing_field", f"{name} is missing; give a string")
    raise Unusable("wrong_type", f"{name} is {kind_of(value)}, not a string; write it as text")


def clean(text: str) -> str:
    """Lone surrogates have no UTF-8; what is scored gets U+FFFD, the record itself keeps its escape."""
    return _SURROGATES.sub("\ufffd", text)


def kind_of(value: object) -> str:
    """What a value is called in JSON."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    return _KINDS.get(type(value), f"of type {type(value).__name__}")


_KINDS: dict[type, str] = {
    str: "a string",
    list: "a list",
    dict: "an object",
    bytes: "binary data",
}
