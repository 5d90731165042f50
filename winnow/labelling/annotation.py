"""What annotators made of a task, as a record again: the texts that they edited, and what they chose beside them.

    control            its name, words like "edited" apart          becomes
    -----------------  -------------------------------------------  ---------------------------------
    TextArea           a prompt, input or answer (`task_fields`)    that text of the record
    TextArea           a field of the task                          that field
    TextArea           nothing but such words ("correction")        the text that its object shows
    TextArea, Choices  anything else                                a field of that name
    Number, Rating

The answer of a conversation is the content of its last assistant turn; its earlier turns are not edited. A field that
the record has already is never overwritten by a choice or a comment: theirs is then called `annotated_NAME`.

Not covered: labels of regions, and of items in a list (`perRegion`, `perItem`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import orjson

from winnow.labelling.label_config import Control, LabelConfig
from winnow.labelling.label_studio import record_key
from winnow.labelling.task_fields import (
    ANSWER_NAMES,
    INPUT_NAMES,
    OWN_PREFIX,
    PROMPT_NAMES,
    TaskFields,
)
from winnow.records.example import Example
from winnow.records.json_text import MalformedJson, parse_json
from winnow.records.schemas import CONVERSATION_FIELDS, PAIRS, to_example
from winnow.records.turns import Unusable, read_turns

WHOLE_PROMPT = f"{OWN_PREFIX}prompt"
WHOLE_ANSWER = f"{OWN_PREFIX}answer"
"""Fields of a task that show its texts whatever the schema: instruction and input as one, the last answer."""

Text = Literal["prompt", "input", "answer"]

_NAMES: dict[str, Text] = {
    **dict.fromkeys(PROMPT_NAMES, "prompt"),
    **dict.fromkeys(INPUT_NAMES, "input"),
    **dict.fromkeys(ANSWER_NAMES, "answer"),
}
_EDITING = frozenset({
    "better", "corrected", "correction", "edit", "edited", "final", "fixed", "improved", "my", "new", "rewrite",
    "rewritten",
})  # fmt: skip
"""Words of a control's name that only say that something is edited."""

_WORDS = re.compile(r"[^\W_]+")
_PROBE = "a text"


def newest(annotations: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The annotation of a task that counts: a ground truth, else the one that was changed last; never a skipped one."""
    given = (each for each in annotations if not each.get("was_cancelled"))
    return max(
        given,
        key=lambda each: (bool(each.get("ground_truth")), each["updated_at"], each["id"]),
        default=None,
    )


def annotated(
    data: Mapping[str, Any],
    result: Iterable[Mapping[str, Any]],
    config: LabelConfig,
    *,
    fields: TaskFields,
) -> dict[str, Any]:
    """The record in `data`, as one annotation leaves it.

    Args:
        data: the task's; fields that Winnow put there do not come back.
        result: of the annotation, as Label Studio stores it.
        config: the configuration of the project.
        fields: which fields of the task are prompt, input and answer.
    """
    record = _record(data, fields)
    own = frozenset(record)
    for control, value in _values(result, config):
        text = _edited(control, config, fields) if control.type == "textarea" else None
        name = control.from_name
        if text is not None:
            whole = config.objects.get(control.to_name) == WHOLE_PROMPT
            _put(record, text, value, fields, whole=whole)
        elif control.type == "textarea" or name not in own:
            record[name] = value
        else:
            record[f"annotated_{name}"] = value
    return record


def _record(data: Mapping[str, Any], fields: TaskFields) -> dict[str, Any]:
    """The record in a task: its own fields if they can be read, and none that were added to show a text."""
    record = {name: value for name, value in data.items() if not name.startswith(OWN_PREFIX)}
    if not isinstance(to_example(record, row=0, where="task"), Example):
        return record | fields.record(data)
    for shown, text in ((fields.prompt, WHOLE_PROMPT), (fields.answer, WHOLE_ANSWER)):
        if shown in record and record[shown] == data.get(text):
            rest = {name: value for name, value in record.items() if name != shown}
            if record_key(rest) == record_key(record):
                record = rest
    return record


def _values(
    result: Iterable[Mapping[str, Any]], config: LabelConfig
) -> Iterable[tuple[Control, Any]]:
    """What was entered into each control, in the order of the result."""
    controls = {control.from_name: control for control in config.controls}
    for item in result:
        control = controls.get(item.get("from_name", ""))
        value = item.get("value")
        if control is None or not isinstance(value, Mapping):
            continue
        match control.type:
            case "choices":
                chosen = value.get("choices") or []
                yield control, chosen[0] if len(chosen) == 1 else chosen
            case "textarea":
                told = value.get("text") or []
                yield control, told if isinstance(told, str) else "\n".join(map(str, told))
            case "number" | "rating":
                yield control, value.get(control.type)


def _edited(control: Control, config: LabelConfig, fields: TaskFields) -> Text | None:
    """The text of the record that a TextArea edits, if it edits one."""
    words = [word for word in _WORDS.findall(control.from_name.lower()) if word not in _EDITING]
    name = "_".join(words) if words else config.objects.get(control.to_name, "")
    given: dict[str | None, Text] = {
        fields.prompt: "prompt",
        fields.input: "input",
        fields.answer: "answer",
    }
    if name in given:
        return given[name]
    return _NAMES.get(name.lower().removeprefix(OWN_PREFIX))


def _put(
    record: dict[str, Any], text: Text, value: str, fields: TaskFields, *, whole: bool
) -> None:
    """Set a text where `winnow.records` reads it, and in the field that showed it."""
    shown = {"prompt": fields.prompt, "input": fields.input, "answer": fields.answer}[text]
    if shown in record:
        record[shown] = value
    for field in CONVERSATION_FIELDS:
        if record.get(field) not in (None, ""):
            if text == "answer":
                record[field] = _with_answer(record[field], value)
            return
    for prompt, answers in PAIRS:
        if record.get(prompt) is None:
            continue
        if text == "input":
            record["input"] = value
        elif text == "prompt":
            record[prompt] = value
            if whole and "input" in record:
                record["input"] = ""
        else:
            answer = next((name for name in answers if record.get(name) is not None), answers[0])
            record[answer] = value
        return


def _with_answer(turns: object, text: str) -> object:
    """The turns with another last answer, added if there was none; as they are if they are no turns at all."""
    items = _parsed(turns)
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        return turns
    items = list(items)
    at = next((i for i in reversed(range(len(items))) if _is_answer(items[i])), None)
    if at is not None:
        items[at] = {**items[at], _content_of(items[at]): text}
    elif items and "from" in items[0]:
        items.append({"from": "gpt", "value": text})
    else:
        items.append({"role": "assistant", "content": text})
    return orjson.dumps(items).decode() if isinstance(turns, str) else items


def _parsed(turns: object) -> object:
    if not isinstance(turns, str):
        return turns
    try:
        return parse_json(turns.encode("utf-8", "surrogatepass"))
    except MalformedJson:
        return turns


def _is_answer(item: Mapping[str, Any]) -> bool:
    """Whether a turn is the assistant's, its text aside, which may be what was missing."""
    try:
        read_turns([{**item, _content_of(item): _PROBE}], "turns")
    except Unusable:
        return False
    return True


def _content_of(item: Mapping[str, Any]) -> str:
    return "value" if "value" in item and item.get("content") is None else "content"
