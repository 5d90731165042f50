"""Annotations of a project as the events that Label Studio's webhooks send, for those that never arrived.

Label Studio gives a webhook one second, tries once, and tells nobody. So the annotation of each task that counts is
handed over, in the body of `ANNOTATIONS_CREATED`; the service knows which of them it has seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from winnow.client.label_studio import LabelStudio, Project
from winnow.labelling.annotation import newest

MAX_ANNOTATIONS = 1_000
MAX_EVENT_BYTES = 8 << 20
"""Of one event, less than the service takes at once."""

_ANNOTATION = (
    "id", "result", "was_cancelled", "ground_truth", "created_at", "updated_at", "project", "task",
)  # fmt: skip
_TASK = ("id", "data", "project")


def annotation_events(studio: LabelStudio, project: Project) -> Iterator[dict[str, Any]]:
    """The events, each with as many annotations as a service takes."""
    about = {"id": project.id, "title": project.title, "label_config": project.label_config}
    for pairs in _bounded(_pairs(studio, project)):
        yield {
            "action": "ANNOTATIONS_CREATED",
            "annotation": [annotation for annotation, _ in pairs],
            "task": [task for _, task in pairs],
            "project": about,
        }


_Pair = tuple[dict[str, Any], dict[str, Any]]


def _pairs(studio: LabelStudio, project: Project) -> Iterator[_Pair]:
    for task in studio.tasks(project.id, annotated=True):
        annotation = newest(task["annotations"])
        if annotation is not None:
            told = {"task": task["id"], "project": project.id} | _members(annotation, _ANNOTATION)
            yield told, {"project": project.id} | _members(task, _TASK)


def _members(value: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: value[name] for name in names if name in value}


def _bounded(pairs: Iterable[_Pair]) -> Iterator[list[_Pair]]:
    held: list[_Pair] = []
    size = 0
    for pair in pairs:
        pair_size = len(orjson.dumps(pair))
        if held and (len(held) == MAX_ANNOTATIONS or size + pair_size > MAX_EVENT_BYTES):
            yield held
            held, size = [], 0
        held.append(pair)
        size += pair_size
    if held:
        yield held
