"""Predictions of a model: tasks are scored when they are asked for, as small runs of IFD.

The tasks of a request are cut, in their order and each record once, into runs of `RUN_TASKS`: the same tasks find the
same runs. Until all of these are completed the answer is 503, of which Label Studio keeps nothing. A request begins at
most `MAX_STARTED` runs; the next one begins more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.label_studio.schemas import Explanation, TaskPrediction, data_of
from service.label_studio.small_runs import SmallRun
from service.label_studio.target import Target
from service.proxies import local_revision
from service.resources import Resources
from service.runs.results import require_completed
from service.score.schemas import ScoreOptions
from winnow.errors import PredictionsNotReady, ScoresNotReady
from winnow.labelling.label_config import LabelConfig
from winnow.labelling.label_studio import record_key
from winnow.labelling.prediction import easiest, predict
from winnow.labelling.task_fields import TaskFields
from winnow.records.example import Example, Rejection
from winnow.records.schemas import to_example
from winnow.scores import score_batch, score_records
from winnow.spec import RunSpec
from winnow.store.runs import Run, waits_for
from winnow.store.scores import page_scores

RUN_TASKS = 1_000
MAX_STARTED = 10
RUN_NAME = "Tasks of Label Studio"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What a run says of one record: its public form, and where it stands."""

    run_id: str
    scores: Mapping[str, Any]


def predict_on_demand(
    resources: Resources,
    target: Target,
    tasks: Sequence[object],
    config: LabelConfig,
    *,
    owner: str,
) -> list[TaskPrediction]:
    """One prediction for each task.

    Raises:
        ModelNotAllowed, NotFound: not a model that the owner may use.
        RunNotUsable: the tasks could not be scored; after a minute it is tried again.
        PredictionsNotReady: some are still to be scored; asking began that.
    """
    target.check(resources, owner=owner)
    version = target.version(resources.settings)
    spec = score_spec(resources, target.name)
    fields = target.fields(config)
    outcomes = [_read(task, fields) for task in tasks]
    examples = {record_key(one): one for one in outcomes if isinstance(one, Example)}
    scored = _scored(resources, list(examples.values()), spec, owner=owner)
    return [
        _prediction(outcome, scored, spec, target, config, version=version) for outcome in outcomes
    ]


def score_spec(resources: Resources, model: str) -> RunSpec:
    """How the tasks of a model are scored: as `POST /score` would, without options."""
    return ScoreOptions(model=model).spec(resources.settings)


def _read(task: object, fields: TaskFields) -> Example | Rejection:
    data = data_of(task)
    return to_example(fields.record(data) or data, row=0, where="task")


def _scored(
    resources: Resources, examples: Sequence[Example], spec: RunSpec, *, owner: str
) -> Mapping[str | None, Scored]:
    """What the runs of these examples say, by the keys of the examples."""
    scored: dict[str | None, Scored] = {}
    waiting, num_started, reason = 0, 0, None
    for at in range(0, len(examples), RUN_TASKS):
        some = examples[at : at + RUN_TASKS]
        run, is_new = _run(resources, some, spec, owner=owner, start=num_started < MAX_STARTED)
        num_started += is_new
        if run is None or not _is_completed(run):
            waiting += len(some)
            reason = reason or (run and _what_for(resources, run))
            continue
        scored |= _of_run(resources, run, some)
    if waiting:
        raise PredictionsNotReady(
            f"{waiting} of {len(examples)} tasks are being scored. {reason or ''}".rstrip()
            + " Retrieve the predictions again after Retry-After seconds."
        )
    return scored


def _run(
    resources: Resources, examples: Sequence[Example], spec: RunSpec, *, owner: str, start: bool
) -> tuple[Run | None, bool]:
    """The run of these examples and whether it is new; None if there is none and none is to be started."""
    small = SmallRun(
        lines=b"".join(map(_line, examples)),
        spec=spec,
        revision=local_revision(spec.model),
        owner=owner,
        name=RUN_NAME,
    )
    with resources.database.transaction() as connection:
        found = small.find(connection)
    if found is not None or not start:
        return found, False
    return small.start(resources)


def _line(example: Example) -> bytes:
    """The turns and nothing else: tasks that differ beside them are the same to a model."""
    turns = [{"role": turn.role, "content": turn.content} for turn in example.turns]
    return json.dumps({"messages": turns}).encode() + b"\n"


def _is_completed(run: Run) -> bool:
    try:
        require_completed(run, param="target")
    except ScoresNotReady:
        return False
    return True


def _what_for(resources: Resources, run: Run) -> str | None:
    with resources.database.transaction() as connection:
        return waits_for(connection, run)


def _of_run(
    resources: Resources, run: Run, examples: Sequence[Example]
) -> Mapping[str | None, Scored]:
    with resources.database.transaction() as connection:
        page = page_scores(connection, owner=run.owner, run_id=run.id, limit=len(examples))
    records = score_records(score_batch(page.items))
    return {
        record_key(example): Scored(run_id=run.id, scores=record)
        for example, record in zip(examples, records, strict=True)
    }


def _prediction(
    outcome: Example | Rejection,
    scored: Mapping[str | None, Scored],
    spec: RunSpec,
    target: Target,
    config: LabelConfig,
    *,
    version: str,
) -> TaskPrediction:
    if isinstance(outcome, Rejection):
        # What cannot be read gets no further than here.
        rejection = {"reason": outcome.reason.value, "detail": outcome.detail}
        prediction = predict(spec.method, rejection, threshold=None)
        explanation = Explanation(choice=prediction.choice, values=rejection)
        return TaskPrediction.of(prediction, config, explanation, version=version)
    found = scored[record_key(outcome)]
    threshold = target.options.threshold
    prediction = predict(
        spec.method,
        found.scores,
        threshold=easiest(spec.method) if threshold is None else threshold,
    )
    known = threshold is not None or prediction.choice == "check"
    explanation = Explanation(
        run=found.run_id,
        checked=True,
        choice=prediction.choice if known else None,
        values=dict(prediction.fields),
    )
    return TaskPrediction.of(prediction, config, explanation, version=version)
