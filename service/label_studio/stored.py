"""Predictions of a run: what is stored of the rows that the tasks are. Nothing is computed.

Memory is that of the tasks: of the index and of the scores only what they need is read, but for the one number that
divides what is kept from what is not, which is remembered.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import structlog

from service.errors import DATABASE_AWAY
from service.label_studio.matching import AskedTask, Match, match, settle
from service.label_studio.schemas import Explanation, TaskPrediction
from service.label_studio.target import Target
from service.resources import Resources
from service.runs.results import read_scores, require_completed
from winnow.errors import NotFound, PredictionsNotReady, ScoresNotReady
from winnow.labelling.label_config import LabelConfig
from winnow.labelling.prediction import keep_threshold, predict
from winnow.labelling.record_index import find_rows, index_path
from winnow.scores import SELECTION_COLUMNS, score_batch, score_records
from winnow.store.record_indexes import request_index
from winnow.store.runs import Run, get_run
from winnow.store.scores import load_scores

log = structlog.get_logger(__name__)


def predict_stored(
    resources: Resources,
    target: Target,
    tasks: Sequence[object],
    config: LabelConfig,
    *,
    owner: str,
) -> list[TaskPrediction]:
    """One prediction for each task.

    Raises:
        NotFound: the owner has no such run.
        RunNotUsable: it failed, was cancelled, or is a dry run.
        PredictionsNotReady: it still works, or the index of its dataset is being made; asking began that.
    """
    with resources.database.transaction() as connection:
        run = get_run(connection, owner=owner, run_id=target.name)
    _require_completed(run)
    fields = target.fields(config)
    asked = [AskedTask.read(task, fields, run_id=run.id) for task in tasks]
    rows_of = _rows_of(resources, run, asked)
    found = [match(task, rows_of) for task in asked]
    scores = _scores(resources, run, found)
    threshold = _threshold(resources, run, target)
    settled = [settle(task, one, scores) for task, one in zip(asked, found, strict=True)]
    return [_prediction(run, one, scores, config, threshold=threshold) for one in settled]


def prepare(resources: Resources, target: Target, *, owner: str) -> None:
    """Have the index of a run's dataset made ahead of the first tasks; if that fails, they ask for it."""
    try:
        with resources.database.transaction() as connection:
            run = get_run(connection, owner=owner, run_id=target.name)
        if run.status == "completed" and not resources.blobs.exists(index_path(run.dataset_id)):
            _request_index(resources, run)
    except (NotFound, OSError, *DATABASE_AWAY) as error:
        log.warning("label_studio.not_prepared", run=target.name, error=type(error).__name__)


def _require_completed(run: Run) -> None:
    try:
        require_completed(run, param="target")
    except ScoresNotReady as error:
        raise PredictionsNotReady(error.message, param="target") from error


def _rows_of(
    resources: Resources, run: Run, tasks: Sequence[AskedTask]
) -> Mapping[bytes, Sequence[int]]:
    keys = [key for task in tasks for key in task.keys]
    if not keys:
        return {}
    try:
        with resources.blobs.open_read(index_path(run.dataset_id)) as file:
            return find_rows(file, keys)
    except FileNotFoundError:
        _request_index(resources, run)
        raise PredictionsNotReady(
            "The records of the dataset are being indexed, once. Retrieve the predictions again after Retry-After "
            "seconds."
        ) from None


def _request_index(resources: Resources, run: Run) -> None:
    with resources.database.transaction() as connection:
        wakeups = request_index(connection, owner=run.owner, dataset_id=run.dataset_id)
    resources.publisher.publish(wakeups)


def _scores(
    resources: Resources, run: Run, found: Sequence[Match]
) -> Mapping[int, Mapping[str, Any]]:
    rows = {one.row for one in found if one.row is not None}
    with resources.database.transaction() as connection:
        stored = load_scores(connection, owner=run.owner, run_id=run.id, rows=sorted(rows))
    return {record["row"]: record for record in score_records(score_batch(stored))}


def _threshold(resources: Resources, run: Run, target: Target) -> float | None:
    """The easiest score that is kept; None if none is."""
    ratio = target.options.ratio
    if target.options.threshold is not None:
        return target.options.threshold

    def easiest() -> np.float64:
        table = read_scores(resources.blobs, run, columns=SELECTION_COLUMNS)
        found = keep_threshold(table, run.method, ratio=ratio)
        return np.float64(np.nan if found is None else found)

    name = ("keep threshold", run.id, f"{ratio.normalize():f}")
    kept = float(resources.kept.get(name, easiest))
    return None if math.isnan(kept) else kept


def _prediction(
    run: Run,
    found: Match,
    scores: Mapping[int, Mapping[str, Any]],
    config: LabelConfig,
    *,
    threshold: float | None,
) -> TaskPrediction:
    if found.row is None:
        return TaskPrediction.none(found.why or "", version=run.id)
    prediction = predict(run.method, scores[found.row], threshold=threshold)
    explanation = Explanation(
        run=run.id,
        row=found.row,
        matched_by=found.by,
        checked=found.checked,
        choice=prediction.choice,
        values=dict(prediction.fields),
    )
    return TaskPrediction.of(prediction, config, explanation, version=run.id)
