"""Label Studio's task file: a JSON array of tasks with predictions (it refuses `.jsonl`), as version 1.23 imports it.

    {"data": {FIELDS OF THE RECORD, "winnow_row": 7, "winnow_run": "run_...", "winnow_key": "...",
              "winnow_prompt": "...", "winnow_answer": "...", "winnow_choice": "keep", "winnow_score": 0.83, ...},
     "predictions": [{"model_version": "run_...", "score": 0.4536, "result": [...]}]}

The `winnow_` fields are there in every task, so that a configuration may show the texts and the Data Manager filter by
the raw values. A field of the record whose name begins so gives way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from winnow.labelling.label_config import LabelConfig
from winnow.labelling.prediction import Prediction, Predictions
from winnow.labelling.record_key import record_key
from winnow.labelling.rows import read_labelled
from winnow.labelling.task_fields import OWN_PREFIX
from winnow.labelling.texts import prompt_and_answer, storable, storable_text
from winnow.records.blocks import BlockReader, Rows
from winnow.records.example import Example
from winnow.records.json_text import dump_as_written
from winnow.records.lines import coalesce
from winnow.records.schemas import to_example


def task(
    record: Mapping[str, Any],
    prediction: Prediction,
    *,
    row: int,
    run: str | None,
    model_version: str,
    config: LabelConfig | None = None,
) -> dict[str, Any]:
    """One task; its values are fit for `dump_as_written`.

    Args:
        record: the record, as `winnow.records.json_text.parse_as_written` gives it or with plain JSON values.
        prediction: what is said of it.
        row: its number in the dataset.
        run: the id of the run that scored it; None if scores come from a file.
        model_version: what Label Studio shows beside the prediction.
        config: says which controls take the prediction; None means `LabelConfig.plain()`.
    """
    example = to_example(record, row=row, where="")
    turns = example.turns if isinstance(example, Example) else ()
    prompt, answer = prompt_and_answer(turns)
    own = {
        "row": row,
        "run": run,
        "key": record_key(example) if isinstance(example, Example) else None,
        "prompt": storable_text(prompt),
        "answer": storable_text(answer),
        "choice": prediction.choice,
        **prediction.fields,
    }
    fields = {
        name: value for name, value in storable(record).items() if not name.startswith(OWN_PREFIX)
    }
    data = fields | {OWN_PREFIX + name: value for name, value in own.items() if value is not None}
    return {
        "data": data,
        "predictions": [
            {
                "model_version": model_version,
                "score": prediction.score,
                "result": (config or LabelConfig.plain()).result(prediction),
            }
        ],
    }


def render_tasks(
    reader: BlockReader,
    rows: Rows,
    *,
    predictions: Predictions,
    run: str | None,
    model_version: str,
    config: LabelConfig | None = None,
) -> Iterator[bytes]:
    """Yield the task file of `rows`, usable or rejected, in the order given and in bounded memory."""
    tasks = (
        dump_as_written(
            task(
                labelled.record,
                labelled.prediction,
                row=labelled.row,
                run=run,
                model_version=model_version,
                config=config,
            )
        )
        for labelled in read_labelled(reader, rows, predictions)
    )
    return coalesce(_array(tasks))


def _array(items: Iterator[bytes]) -> Iterator[bytes]:
    """A JSON array, one item a line."""
    before = b"[\n"
    for each in items:
        yield before + each
        before = b",\n"
    yield b"\n]\n" if before == b",\n" else b"[]\n"
