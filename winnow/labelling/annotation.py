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
from winnow.labelling.task_fields import (
    ANSWER_NAMES,
    INPUT_NAMES,
    OWN_PREFIX,
    PROMPT_NAMES,
    WHOLE_PROMPT,
    TaskFields,
    own_fields,
)
from winnow.records.example import Example
from winnow.records.json_text import MalformedJson, parse_json
from winnow.records.schemas import CONVERSATION_FIELDS, PAIRS, to_example
from winnow.records.turns import Unusable, read_turns

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
    result: Iterable[object],
    config: LabelConfig,
    *,
    fields: TaskFields,
) -> dict[str, Any]:
    """The record in `data`, as one annotation leaves it.

    Args:
        data: the task's; fields that Winnow put there do not come back.
        result: of the annotation, as Label Studio stores it; what has another shape is passed over.
        config: the configuration of the project.
        fields: which fields of the task are prompt, input and answer.
    """
    record = _record(data, fields)
    own = frozenset(record)
    for control, value in _values(result, config):
        text = _edited(control, config, fields) if control.type == "textarea" else None
        name = control.from_name
        if text is not None:
            shown = data.get(config.objects[control.to_name])
            whole = shown is not None and shown == data.get(WHOLE_PROMPT)
            _put(record, text, value, fields, whole=whole)
        elif control.type == "textarea" or name not in own:
            record[name] = value
        else:
            record[f"annotated_{name}"] = value
    return record


def _record(data: Mapping[str, Any], fields: TaskFields) -> dict[str, Any]:
    """The record in a task; beside it every field of the task, where these alone are no record."""
    own, read = own_fields(data), fields.record(data)
    return read if isinstance(to_example(own, row=0, where="task"), Example) else own | read


def _values(result: Iterable[object], config: LabelConfig) -> Iterable[tuple[Control, Any]]:
    """What was entered into each control, in the order of the result."""
    controls = {control.from_name: control for control in config.controls}
    for item in result:
        if not isinstance(item, Mapping):
            continue
        name, value = item.get("from_name"), item.get("value")
        control = controls.get(name) if isinstance(name, str) else None
        if control is None or not isinstance(value, Mapping):
            continue
        match control.type:
            case "choices":
                chosen = _texts(value.get("choices"))
                if chosen is not None:
                    yield control, chosen[0] if len(chosen) == 1 else chosen
            case "textarea":
                told = _texts(value.get("text"))
                if told is not None:
                    yield control, "\n".join(told)
            case "number" | "rating":
                yield control, value.get(control.type)


def _texts(entered: object) -> list[str] | None:
    """Texts or labels of a region; none of them is an empty list, and None is what no region of theirs has."""
    if isinstance(entered, str):
        return [entered]
    texts = [] if entered is None else entered
    if isinstance(texts, list) and all(isinstance(text, str) for text in texts):
        return texts
    return None


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
