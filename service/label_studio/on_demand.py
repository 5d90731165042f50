"""Predictions of a model: tasks are scored when they are asked for, as small runs of IFD.

The tasks of a request are cut, in their order and each record once, into runs of `RUN_TASKS`: the same tasks find the
same runs. Of tasks that were never asked for together, those that an earlier run has are taken from there. Until all
of them are scored the answer is 503, of which Label Studio keeps nothing. A request begins at most `MAX_STARTED` runs;
the next one begins more.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.label_studio.schemas import Explanation, TaskPrediction, data_of
from service.label_studio.small_runs import Place, SmallRun, find_lines
from service.label_studio.target import Target
from service.proxies import local_revision
from service.resources import Resources
from service.runs.results import require_completed
from service.score.schemas import ScoreOptions
from winnow.errors import PredictionsNotReady, ScoresNotReady
from winnow.labelling.label_config import LabelConfig
from winnow.labelling.prediction import easiest, predict
from winnow.labelling.record_key import record_key
from winnow.labelling.task_fields import TaskFields
from winnow.records.example import Example, Rejection
from winnow.records.schemas import to_example
from winnow.scores import score_batch, score_records
from winnow.spec import RunSpec
from winnow.store.runs import Run, get_run, waits_for
from winnow.store.scores import load_scores

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
    """What runs say of these examples, by the keys of the examples."""
    keys = {_line(example): record_key(example) for example in examples}
    places = _places(resources, list(keys), spec, owner=owner)
    rows_of: defaultdict[str, dict[int, bytes]] = defaultdict(dict)
    for line, place in places.items():
        rows_of[place.run_id][place.row] = line
    scored: dict[str | None, Scored] = {}
    reason = None
    for run_id, lines in rows_of.items():
        run = _run(resources, run_id, owner=owner)
        if not _is_completed(run):
            reason = reason or _what_for(resources, run)
            continue
        said = _scores(resources, run, sorted(lines))
        scored |= {keys[lines[each["row"]]]: Scored(run_id=run_id, scores=each) for each in said}
    waiting = len(keys) - len(scored)
    if waiting:
        raise PredictionsNotReady(
            f"{waiting} of {len(keys)} tasks are being scored. {reason or ''}".rstrip()
            + " Retrieve the predictions again after Retry-After seconds."
        )
    return scored


def _places(
    resources: Resources, lines: Sequence[bytes], spec: RunSpec, *, owner: str
) -> dict[bytes, Place]:
    """Where these records are scored; those that nothing scores yet are begun, as many as may be."""

    def small_run(some: Sequence[bytes]) -> SmallRun:
        revision = local_revision(spec.model)
        return SmallRun(
            lines=b"".join(some), spec=spec, revision=revision, owner=owner, name=RUN_NAME
        )

    places: dict[bytes, Place] = {}
    with resources.database.transaction() as connection:
        for some in _cut(lines):
            same = small_run(some).find(connection)
            if same is not None:
                places |= _rows(same.id, some)
    rest = [line for line in lines if line not in places]
    if rest:
        places |= find_lines(resources, rest, small_run(rest))
    new = [line for line in rest if line not in places]
    for some in _cut(new)[:MAX_STARTED]:
        run, _ = small_run(some).start(resources)
        places |= _rows(run.id, some)
    return places


def _cut(lines: Sequence[bytes]) -> list[Sequence[bytes]]:
    return [lines[at : at + RUN_TASKS] for at in range(0, len(lines), RUN_TASKS)]


def _rows(run_id: str, lines: Sequence[bytes]) -> dict[bytes, Place]:
    return {line: Place(run_id=run_id, row=row) for row, line in enumerate(lines)}


def _run(resources: Resources, run_id: str, *, owner: str) -> Run:
    with resources.database.transaction() as connection:
        return get_run(connection, owner=owner, run_id=run_id)


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


def _scores(resources: Resources, run: Run, rows: Sequence[int]) -> list[dict[str, Any]]:
    with resources.database.transaction() as connection:
        stored = load_scores(connection, owner=run.owner, run_id=run.id, rows=rows)
    return list(score_records(score_batch(stored)))


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
