"""A task of Winnow's task file, made to fit one project of Label Studio, and recognised there again.

What the project's configuration shows and the record does not have under that name is filled in: `$question` with the
prompt, `$response` with the answer, by the names in `task_fields`; else it is empty text. The `result` of a prediction
is made for the controls that the project has.

A task is the same as another one if its texts are the same: its key is `winnow_key`, the hash of those texts, or, of a
row that is no example, `winnow_task`, a hash of all its fields.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson

from winnow.errors import InputError
from winnow.labelling.label_config import LabelConfig
from winnow.labelling.prediction import Prediction
from winnow.labelling.record_key import record_key
from winnow.labelling.task_fields import (
    KEY,
    OWN_PREFIX,
    WHOLE_ANSWER,
    WHOLE_PROMPT,
    TaskFields,
    own_fields,
)
from winnow.records.json_text import dump_as_written, parse_as_written

TASK_KEY = f"{OWN_PREFIX}task"
SHOWN = (WHOLE_PROMPT, WHOLE_ANSWER)
"""Fields that every task has for a configuration to show."""

_KEY_BYTES = 16
_NOT_VALUES = frozenset({"key", "task", "row", "run", "prompt", "answer", "choice"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedTask:
    """A task for one project; `lacking` are the fields that the project shows and nothing in the record fills."""

    key: str
    data: Mapping[str, Any]
    prediction: Mapping[str, Any]
    lacking: frozenset[str]

    @property
    def body(self) -> bytes:
        """The task as an import takes it."""
        return dump_as_written({"data": self.data, "predictions": [self.prediction]})

    def prediction_for(self, task_id: int) -> bytes:
        """The prediction alone, for a task that is there."""
        return dump_as_written({"task": task_id, **self.prediction})


def fit(element: bytes, config: LabelConfig, fields: TaskFields) -> FittedTask:
    """Make a task, as `winnow.labelling.label_studio` wrote it, fit a project."""
    written = parse_as_written(element)
    plain = orjson.loads(element)
    data, prediction = written["data"], plain["predictions"][0]
    empty = [name for name in config.fields if data.get(name) is None]
    filled = {
        fields.prompt: data[WHOLE_PROMPT],
        fields.answer: data[WHOLE_ANSWER],
        fields.input: "",
    }
    data |= {name: filled.get(name, "") for name in empty}
    if data.get(KEY) is None:
        data[TASK_KEY] = _hash(plain["data"])
    said = Prediction(
        score=prediction["score"],
        choice=plain["data"]["winnow_choice"],
        fields=_values(plain["data"]),
    )
    return FittedTask(
        key=data.get(KEY) or data[TASK_KEY],
        data=data,
        prediction=prediction | {"result": config.result(said)},
        lacking=frozenset(empty) - frozenset(filled),
    )


def check_shown(tasks: Iterable[FittedTask], config: LabelConfig, *, project: str) -> None:
    """Refuse a project that shows what no task has.

    Raises:
        InputError: names what the configuration wants, and what the tasks have.
    """
    seen = list(tasks)
    nowhere = [name for name in config.fields if all(name in task.lacking for task in seen)]
    if seen and nowhere:
        names = dict.fromkeys(name for task in seen for name in task.data)
        theirs = [name for name in names if not name.startswith(OWN_PREFIX)]
        has = [name for name in (*theirs, *SHOWN) if name not in nowhere]
        raise InputError(
            f"The labelling configuration of {project} wants {_listed(config.fields)}, and no record has "
            f"{_listed(nowhere)}. Say which of them is the --prompt, the --answer or the --input, or let the "
            f"configuration show what there is: {_listed(has)}."
        )


def key_of(data: Mapping[str, Any], fields: TaskFields) -> str | None:
    """The key of a task that is in a project already, by whomever it was made; None if it has no text to tell it by."""
    given = (data.get(name) for name in (KEY, TASK_KEY))
    own = next((key for key in given if key and isinstance(key, str)), None)
    return own or record_key(fields.record(data))


def _values(data: Mapping[str, Any]) -> dict[str, Any]:
    """The raw values behind the prediction."""
    own = {name.removeprefix(OWN_PREFIX): name for name in data if name.startswith(OWN_PREFIX)}
    return {short: data[name] for short, name in own.items() if short not in _NOT_VALUES}


def _hash(data: Mapping[str, Any]) -> str:
    text = orjson.dumps(own_fields(data), option=orjson.OPT_SORT_KEYS)
    return blake2b(text, digest_size=_KEY_BYTES).hexdigest()


def _listed(names: Collection[str]) -> str:
    return ", ".join(f"${name}" for name in names)
