"""What `winnow label-studio` reads and writes: task files of scored rows, and records of annotated tasks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile

import orjson

from cli.output import replacing
from cli.progress import row_progress
from cli.select import method_of, scored_dataset
from winnow.client.label_studio import LabelStudio, Project
from winnow.labelling.annotation import annotated, newest
from winnow.labelling.fitted import key_of
from winnow.labelling.label_config import LabelConfig
from winnow.labelling.label_studio import render_tasks
from winnow.labelling.prediction import easiest, keep_threshold, predictions_of
from winnow.labelling.record_key import record_key
from winnow.labelling.task_fields import TaskFields
from winnow.scores import read_scores
from winnow.selection.ratio import Selection, select
from winnow.spec import Method

VERSION_DIGITS = 12
CHUNK_BYTES = 1 << 20

Tasks = tuple[Iterator[bytes], str]
"""A task file in pieces, and the model version of its predictions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """Records that were written, and how many of them have other texts than their tasks."""

    records: int
    edited: int


@contextmanager
def tasks_of_run(
    run_id: str, *, ratio: float | None, url: str, api_key: str | None
) -> Iterator[Tasks]:
    """Tasks of a service's run, fetched before the first is used: making tasks of them may take an hour."""
    from winnow.client import Client

    with Client(url, api_key) as client, TemporaryFile() as spool:
        for piece in client.label_studio_tasks(run_id, ratio=ratio):
            spool.write(piece)
        spool.seek(0)
        yield iter(partial(spool.read, CHUNK_BYTES), b""), run_id


@contextmanager
def tasks_of_scores(
    scores: Path,
    data: Path,
    *,
    ratio: float | None,
    method: Method | None,
    input_format: str,
) -> Iterator[Tasks]:
    """Tasks of a scores file and its dataset; their model version is a hash of the scores.

    Raises:
        InvalidOption: the dataset is not the one that was scored.
    """
    table = read_scores(scores)
    measured = method or method_of(table, None, "score")
    digest = hashlib.sha256(scores.read_bytes()).hexdigest()
    version = f"scores@{digest[:VERSION_DIGITS]}"
    with scored_dataset(data, table, scores=scores, input_format=input_format) as dataset:
        if ratio is None:
            rows, threshold = table.row, keep_threshold(table, measured)
        else:
            selection = Selection.make(method=measured, ratio=ratio)
            rows = select(table, selection, sources=dataset.blocks.sources).rows
            threshold = easiest(measured)
        tasks = render_tasks(
            dataset.blocks,
            rows,
            predictions=predictions_of(table, measured, threshold=threshold),
            run=None,
            model_version=version,
        )
        yield tasks, version


def write_annotated(
    output: Path, studio: LabelStudio, project: Project, config: LabelConfig, fields: TaskFields
) -> Pulled:
    """A record a line for every task with an annotation that counts; the file is there whole or not at all."""
    records = edited = 0
    with replacing(output) as file, row_progress("pulling") as advance:
        for task in studio.tasks(project.id, annotated=True):
            annotation = newest(task["annotations"])
            if annotation is None:
                continue
            record = annotated(task["data"], annotation["result"], config, fields=fields)
            file.write(orjson.dumps(record) + b"\n")
            records += 1
            edited += record_key(record) != key_of(task["data"], fields)
            advance(records, None)
    return Pulled(records=records, edited=edited)


def score_file(path: Path, *, url: str | None, api_key: str | None) -> None:
    """Score a dataset by the service at `url`, waiting for it, or on this machine into a file beside it."""
    from cli import report
    from cli.score import score
    from winnow.client import Client

    if url is None:
        score(path, scores=path.with_suffix(".scores.jsonl"))
        return
    with Client(url, api_key) as client, row_progress("scoring") as advance:
        run = client.wait(
            client.score(path),
            on_progress=lambda now: advance(now.counts.rows_done, now.counts.rows),
        )
    report.say(f"scored as {run.id}")
