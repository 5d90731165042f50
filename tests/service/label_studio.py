"""What Label Studio 1.23 sends to an ML backend and to a webhook, for tests of those that answer it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

CONFIG = """
<View>
  <Text name="question" value="$question"/>
  <Text name="reply" value="$reply"/>
  <Choices name="verdict" toName="reply">
    <Choice value="keep"/><Choice value="drop"/><Choice value="check"/>
  </Choices>
  <Number name="ifd" toName="reply"/>
  <TextArea name="corrected_reply" toName="reply" maxSubmissions="1"/>
</View>
"""
FIELDS = "prompt=question&answer=reply"
"""`reply` is none of the names that are found by themselves."""


def task(number: int, data: object) -> dict[str, Any]:
    """A task as `/predict` gets it."""
    empty: dict[str, Any] = {"meta": {}, "annotations": [], "predictions": []}
    return {"id": number, "project": 1, "data": data, **empty}


def tasks_of(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A task for each record, with its texts under the names of `CONFIG`."""
    return [
        task(number, {"question": record["instruction"], "reply": record["output"]})
        for number, record in enumerate(records, start=100)
    ]


def asked(tasks: Sequence[object], config: str = CONFIG) -> dict[str, Any]:
    """The body of `/predict`."""
    params = {"login": None, "password": None, "context": None}
    return {"tasks": tasks, "project": "1.1795197169", "label_config": config, "params": params}


def setup(token: str = "label-studio-token") -> dict[str, Any]:  # noqa: S107  # nobody's
    """The body of `/setup`."""
    return {
        "project": "1.1795197169",
        "schema": CONFIG,
        "hostname": "http://localhost:8080",
        "access_token": token,
        "extra_params": None,
    }


def annotation(number: int, task_id: int, text: str | None, **more: Any) -> dict[str, Any]:
    """An annotation whose text area says `text`, if anything."""
    written = {
        "id": "r1",
        "from_name": "corrected_reply",
        "to_name": "reply",
        "type": "textarea",
        "value": {"text": [text]},
    }
    chosen = {
        "id": "r2",
        "from_name": "verdict",
        "to_name": "reply",
        "type": "choices",
        "value": {"choices": ["keep"]},
    }
    result = [chosen] if text is None else [chosen, written]
    return {
        "id": number,
        "task": task_id,
        "result": result,
        "was_cancelled": False,
        "updated_at": "2026-11-21T10:00:00Z",
        **more,
    }


def event(action: str, annotations: object, tasks: object) -> dict[str, Any]:
    """What a webhook is sent."""
    project = {"id": 1, "title": "Answers", "label_config": CONFIG}
    return {"action": action, "annotation": annotations, "task": tasks, "project": project}


def basic(key: str) -> dict[str, str]:
    """The headers that Label Studio makes of a user and a password."""
    pair = base64.b64encode(f"label-studio:{key}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}
