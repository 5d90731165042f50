"""What annotators changed, as Label Studio's webhooks tell it: changed records are scored anew, an event as one run.

    ANNOTATION_CREATED, ANNOTATION_UPDATED   one annotation and its task
    ANNOTATIONS_CREATED                      lists of both
    START_TRAINING                           nothing to do: a proxy learns from no label
    any other                                nothing to do: its predictions follow from the tasks

The run has the options of the target, and its dataset the records as they are now, with the numbers of project, task
and annotation beside them. Nothing else is kept: the same answer of the same annotation is the same line. By that
line a run of its own is found again, and a run of several answers by events of several, which read those of earlier
ones. What was told is scored once, then, unless first among several and later alone. Label Studio waits a second: there
is one dataset and one run to store, whatever an event tells of.

Not covered: learning percentage and S2L, which score a dataset as a whole. Deleted annotations: what they said was
scored, and stays.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import BaseModel

from service.label_studio.on_demand import score_spec
from service.label_studio.schemas import data_of
from service.label_studio.small_runs import Place, SmallRun, find_lines
from service.label_studio.target import Target
from service.proxies import local_revision
from service.resources import Resources
from winnow.errors import TooLarge
from winnow.labelling.annotation import annotated
from winnow.labelling.label_config import LabelConfig
from winnow.labelling.record_key import record_key
from winnow.labelling.task_fields import TaskFields
from winnow.records.example import Rejection
from winnow.records.schemas import KNOWN_FIELDS, to_example
from winnow.spec import RunSpec
from winnow.store.runs import get_run
from winnow.store.small_runs import find_small_runs

MAX_ANNOTATIONS = 10_000
"""Of one event."""

RUN_NAME = "Label Studio: annotations"
"""Of several answers that an event told of."""

WHOLE_DATASETS = (
    "The run measures {method}, which takes a whole dataset: bring the annotated tasks back with "
    "`winnow label-studio pull`."
)
START_TRAINING = "START_TRAINING"
SEVERAL = "ANNOTATIONS_CREATED"
CHANGES = frozenset({"ANNOTATION_CREATED", "ANNOTATION_UPDATED", SEVERAL})

Json = Mapping[str, Any]
Outcome = Literal["queued", "known", "unchanged", "ignored"]


class WebhookEvent(BaseModel):
    """What Label Studio tells, as far as it is used; objects where it is about one annotation, lists for several."""

    action: str
    annotation: Any = None
    task: Any = None
    project: Any = None


class AnnotationView(BaseModel):
    """What became of one annotation: `queued` for the first time, `known`, `unchanged`, or `ignored`, and `reason`.

    The answer is the row `row` of `run`.
    """

    annotation: int | None
    task: int | None
    outcome: Outcome
    run: str | None = None
    row: int | None = None
    reason: str | None = None


class WebhookView(BaseModel):
    """What became of an event. The four counts add up to its annotations."""

    status: Literal["ok"] = "ok"
    queued: int = 0
    known: int = 0
    unchanged: int = 0
    ignored: int = 0
    events: list[AnnotationView] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """An annotation that changes its record; `line` is what is to be scored."""

    annotation: int | None
    task: int | None
    line: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """How the annotations of one project are read, and how what they change is scored for a target.

    `refusal`: why it is not scored at all, if so.
    """

    id: int | None
    config: LabelConfig
    fields: TaskFields
    target: str
    owner: str
    spec: RunSpec
    revision: str | None
    refusal: str | None


def take(resources: Resources, target: Target, event: WebhookEvent, *, owner: str) -> WebhookView:
    """Store what an event changes, and have it scored.

    Raises:
        NotFound, RunNotUsable, ModelNotAllowed: as `Target.check`.
        TooLarge: more than `MAX_ANNOTATIONS` annotations.
        InputError: the labelling configuration cannot be read.
    """
    target.check(resources, owner=owner)
    if event.action not in CHANGES:
        return WebhookView()
    pairs = list(_pairs(event))
    if len(pairs) > MAX_ANNOTATIONS:
        raise TooLarge(
            f"An event may have {MAX_ANNOTATIONS} annotations; this one has {len(pairs)}. `winnow label-studio "
            "reconcile` sends what was missed in parts."
        )
    project = _project(resources, target, _object(event.project), owner=owner)
    read = [_read(project, annotation, task) for annotation, task in pairs]
    changed = {one.line: one for one in read if isinstance(one, Changed)}
    known = _known(resources, project, list(changed), several=event.action == SEVERAL)
    new = [one for line, one in changed.items() if line not in known]
    scored, is_new = _score(resources, project, new)
    places = known | scored
    views = [
        one
        if isinstance(one, AnnotationView)
        else _view(one, places[one.line], "queued" if is_new and one.line in scored else "known")
        for one in read
    ]
    counts = {name: sum(view.outcome == name for view in views) for name in _OUTCOMES}
    return WebhookView(events=views, **counts)


_OUTCOMES: tuple[Outcome, ...] = ("queued", "known", "unchanged", "ignored")


def _pairs(event: WebhookEvent) -> Iterator[tuple[Json, Json]]:
    """Each annotation with its task: the one that it names, or the one in its place if it names none."""
    annotations, tasks = _list(event.annotation), _list(event.task)
    by_id = {_number(task.get("id")): task for task in tasks}
    for at, annotation in enumerate(annotations):
        number = _number(annotation.get("task"))
        beside = tasks[at] if at < len(tasks) else {}
        yield annotation, beside if number is None else by_id.get(number, {})


def _read(project: Project, annotation: Json, task: Json) -> Changed | AnnotationView:
    numbers = {"annotation": _number(annotation.get("id")), "task": _number(task.get("id"))}
    data, result = data_of(task), annotation.get("result")
    if annotation.get("was_cancelled"):
        return AnnotationView(**numbers, outcome="ignored", reason="The annotator skipped it.")
    if not data or not isinstance(result, list):
        reason = "The event does not carry the task's data and the result; send payloads."
        return AnnotationView(**numbers, outcome="ignored", reason=reason)
    before = record_key(project.fields.record(data))
    record = annotated(data, result, project.config, fields=project.fields)
    after = record_key(record)
    if after == before:
        return AnnotationView(**numbers, outcome="unchanged")
    refusal = _unusable(record) if after is None else project.refusal
    if refusal is not None:
        return AnnotationView(**numbers, outcome="ignored", reason=refusal)
    return Changed(**numbers, line=_line(project, record, **numbers))


def _line(project: Project, record: Json, *, annotation: int | None, task: int | None) -> bytes:
    """The record as it is scored, without the choices and comments of the annotator: they change no score."""
    origin = {"project": project.id, "task": task, "annotation": annotation}
    read = {name: record[name] for name in KNOWN_FIELDS if record.get(name) is not None}
    line = read | {"label_studio": origin | {"target": project.target}}
    return json.dumps(line, sort_keys=True).encode() + b"\n"


def _known(
    resources: Resources, project: Project, lines: Sequence[bytes], *, several: bool
) -> dict[bytes, Place]:
    """Where changed records were scored before: alone, or else, if this event tells of several too, among others."""
    if not lines:
        return {}
    by_hash = {hashlib.sha256(line).hexdigest(): line for line in lines}
    with resources.database.transaction() as connection:
        alone = find_small_runs(
            connection,
            owner=project.owner,
            sha256s=by_hash,
            spec=project.spec,
            revision=project.revision,
        )
    known = {by_hash[sha256]: Place(run_id=run_id, row=0) for sha256, run_id in alone.items()}
    rest = [line for line in lines if line not in known]
    if several and rest:
        known |= find_lines(resources, rest, _small_run(project, rest, name=RUN_NAME))
    return known


def _score(
    resources: Resources, project: Project, new: Sequence[Changed]
) -> tuple[dict[bytes, Place], bool]:
    """Where records are scored that were not before, and whether nobody else has just told of the same."""
    if not new:
        return {}, False
    alone = f"Label Studio: task {new[0].task}, annotation {new[0].annotation}"
    lines = [one.line for one in new]
    small = _small_run(project, lines, name=alone if len(new) == 1 else RUN_NAME)
    run, is_new = small.start(resources)
    return {line: Place(run_id=run.id, row=row) for row, line in enumerate(lines)}, is_new


def _small_run(project: Project, lines: Sequence[bytes], *, name: str) -> SmallRun:
    return SmallRun(
        lines=b"".join(lines),
        spec=project.spec,
        revision=project.revision,
        owner=project.owner,
        name=name,
    )


def _view(one: Changed, place: Place, outcome: Outcome) -> AnnotationView:
    return AnnotationView(
        annotation=one.annotation, task=one.task, outcome=outcome, run=place.run_id, row=place.row
    )


def _project(resources: Resources, target: Target, project: Json, *, owner: str) -> Project:
    """Scored is with the options and the model files of the run, or as the tasks of the model are."""
    if target.is_run:
        with resources.database.transaction() as connection:
            run = get_run(connection, owner=owner, run_id=target.name)
        # Clusters are made of many rows.
        spec, revision = replace(run.spec, embeddings=None, num_clusters=None), run.revision
    else:
        spec, revision = score_spec(resources, target.name), local_revision(target.name)
    config = _config(project)
    return Project(
        id=_number(project.get("id")),
        config=config,
        fields=target.fields(config),
        target=target.name,
        owner=owner,
        spec=spec,
        revision=revision,
        refusal=None if spec.trajectory is None else WHOLE_DATASETS.format(method=spec.method),
    )


def _config(project: Json) -> LabelConfig:
    xml = project.get("label_config")
    return LabelConfig.parse(xml) if isinstance(xml, str) and xml else LabelConfig.plain()


def _unusable(record: Json) -> str:
    outcome = to_example(record, row=0, where="the annotated record")
    return outcome.detail if isinstance(outcome, Rejection) else "It cannot be scored."


def _list(value: object) -> Sequence[Json]:
    values = value if isinstance(value, list) else [value] if value is not None else []
    return [_object(one) for one in values]


def _object(value: object) -> Json:
    return value if isinstance(value, Mapping) else {}


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
