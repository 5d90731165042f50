"""What annotators changed, as Label Studio's webhooks tell it: a changed record is scored anew, as a run of its own.

    ANNOTATION_CREATED, ANNOTATION_UPDATED   one annotation and its task
    ANNOTATIONS_CREATED                      lists of both
    START_TRAINING                           nothing to do: a proxy learns from no label
    any other                                nothing to do: its predictions follow from the tasks

The run has the options of the target, and its dataset the record as it is now, with the numbers of project, task and
annotation beside it. Nothing else is kept: the same answer of the same annotation is the same bytes, hence the same
dataset and the same run, however often it is told and by whomever.

Not covered: learning percentage and S2L, which score a dataset as a whole. Deleted annotations: what they said was
scored, and stays.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import BaseModel

from service.label_studio.on_demand import score_spec
from service.label_studio.schemas import data_of
from service.label_studio.small_runs import SmallRun
from service.label_studio.target import Target
from service.proxies import local_revision
from service.resources import Resources
from winnow.errors import TooLarge
from winnow.labelling.annotation import annotated
from winnow.labelling.label_config import LabelConfig
from winnow.labelling.label_studio import record_key
from winnow.labelling.task_fields import TaskFields
from winnow.records.example import Rejection
from winnow.records.schemas import KNOWN_FIELDS, to_example
from winnow.spec import RunSpec
from winnow.store.runs import get_run

MAX_ANNOTATIONS = 100
"""Of one event: each may become a run, and Label Studio waits a second."""

WHOLE_DATASETS = (
    "The run measures {method}, which takes a whole dataset: bring the annotated tasks back with "
    "`winnow label-studio pull`."
)
START_TRAINING = "START_TRAINING"
CHANGES = frozenset({"ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_CREATED"})

Json = Mapping[str, Any]
Outcome = Literal["queued", "known", "unchanged", "ignored"]


class WebhookEvent(BaseModel):
    """What Label Studio tells, as far as it is used; objects where it is about one annotation, lists for several."""

    action: str
    annotation: Any = None
    task: Any = None
    project: Any = None


class AnnotationView(BaseModel):
    """What became of one annotation: `queued` for the first time, `known`, `unchanged`, or `ignored`, and `reason`."""

    annotation: int | None
    task: int | None
    outcome: Outcome
    run: str | None = None
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
    views = [_take_one(resources, project, annotation, task) for annotation, task in pairs]
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


def _take_one(
    resources: Resources, project: Project, annotation: Json, task: Json
) -> AnnotationView:
    numbers = {"annotation": _number(annotation.get("id")), "task": _number(task.get("id"))}
    data, result = data_of(task), annotation.get("result")
    if annotation.get("was_cancelled"):
        return AnnotationView(**numbers, outcome="ignored", reason="The annotator skipped it.")
    if not data or not isinstance(result, list):
        reason = "The event does not carry the task's data and the result; send payloads."
        return AnnotationView(**numbers, outcome="ignored", reason=reason)
    before = record_key(project.fields.record(data))
    regions = [region for region in result if _is_region(region)]
    record = annotated(data, regions, project.config, fields=project.fields)
    after = record_key(record)
    if after == before:
        return AnnotationView(**numbers, outcome="unchanged")
    refusal = _unusable(record) if after is None else project.refusal
    if refusal is not None:
        return AnnotationView(**numbers, outcome="ignored", reason=refusal)
    run_id, is_new = _score(resources, project, record, **numbers)
    return AnnotationView(**numbers, outcome="queued" if is_new else "known", run=run_id)


def _score(
    resources: Resources,
    project: Project,
    record: Json,
    *,
    annotation: int | None,
    task: int | None,
) -> tuple[str, bool]:
    """The run of a changed record, and whether it is new."""
    origin = {"project": project.id, "task": task, "annotation": annotation}
    # Without the choices and comments of the annotator: they change no score.
    read = {name: record[name] for name in KNOWN_FIELDS if record.get(name) is not None}
    line = read | {"label_studio": origin | {"target": project.target}}
    small = SmallRun(
        lines=json.dumps(line, sort_keys=True).encode() + b"\n",
        spec=project.spec,
        revision=project.revision,
        owner=project.owner,
        name=f"Label Studio: task {task}, annotation {annotation}",
    )
    with resources.database.transaction() as connection:
        found = small.find(connection)
    run, is_new = (found, False) if found is not None else small.start(resources)
    return run.id, is_new


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


def _is_region(region: object) -> bool:
    """Whether this is an entry into a control, of texts and labels if it has any."""
    if not isinstance(region, Mapping) or not isinstance(region.get("from_name"), str):
        return False
    value = _object(region.get("value"))
    entered = [value[name] for name in ("text", "choices") if name in value]
    return all(
        isinstance(texts, str)
        or (isinstance(texts, list) and all(isinstance(text, str) for text in texts))
        for texts in entered
    )


def _list(value: object) -> Sequence[Json]:
    values = value if isinstance(value, list) else [value] if value is not None else []
    return [_object(one) for one in values]


def _object(value: object) -> Json:
    return value if isinstance(value, Mapping) else {}


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
