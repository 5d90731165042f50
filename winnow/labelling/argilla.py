"""Argilla's records as bodies for `PUT /api/v1/datasets/{uuid}/records/bulk` (2.8): JSON lines, one request a line.

A line is `{"items": [...]}` with at most 500 records, the most that one request may have, and at most 16 MiB unless a
single record is longer:

    {"external_id": "ds_...-7", "fields": {"prompt": "...", "answer": "..."},
     "metadata": {"row": 7, "choice": "keep", "sort_score": 0.4536, "score": 0.83, ...},
     "suggestions": [{"question_id": "<uuid>", "value": "keep", "score": 0.4536, "agent": "run_...", "type": "model"}]}

An upsert goes by `external_id`, so a dataset that is scored again replaces what was said of its rows. Other fields of a
record stay behind: Argilla refuses what its dataset does not define.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

import orjson

from winnow.labelling.prediction import Prediction, Predictions
from winnow.labelling.rows import read_labelled
from winnow.labelling.texts import prompt_and_answer, storable, storable_text
from winnow.records.blocks import BlockReader, Rows
from winnow.records.example import Example
from winnow.records.lines import coalesce
from winnow.records.schemas import to_example

MAX_ITEMS = 500
MAX_BULK_BYTES = 16 << 20
MAX_AGENT_CHARS = 200
_NOT_IN_AGENT = re.compile(r"[^a-zA-Z0-9_:./\s-]")


def item(
    record: Mapping[str, Any],
    prediction: Prediction,
    *,
    row: int,
    dataset: str,
    agent: str,
    question_id: UUID | None = None,
) -> dict[str, Any]:
    """One record of a bulk.

    Args:
        record: the record, as `winnow.records.json_text.parse_as_written` gives it or with plain JSON values.
        prediction: what is said of it.
        row: its number in the dataset.
        dataset: what tells the rows of this dataset from those of others; begins the `external_id`.
        agent: what Argilla shows beside the suggestion; characters that it refuses become hyphens.
        question_id: the question that keep, drop and check answer; None means no suggestion.
    """
    example = to_example(record, row=row, where="")
    metadata: dict[str, Any] = {
        "row": row,
        "choice": prediction.choice,
        "sort_score": prediction.score,
        **prediction.fields,
    }
    prompt = answer = ""
    if isinstance(example, Example):
        prompt, answer = prompt_and_answer(example.turns)
        metadata |= {"source": example.source, "id": example.id}
    made: dict[str, Any] = {
        "external_id": f"{dataset}-{row}",
        "fields": {"prompt": storable_text(prompt), "answer": storable_text(answer)},
        "metadata": storable(
            {name: value for name, value in metadata.items() if value is not None}
        ),
    }
    if question_id is not None:
        made["suggestions"] = [
            {
                "question_id": str(question_id),
                "value": prediction.choice,
                "score": prediction.score,
                "agent": _NOT_IN_AGENT.sub("-", agent)[:MAX_AGENT_CHARS],
                "type": "model",
            }
        ]
    return made


def render_bulks(
    reader: BlockReader,
    rows: Rows,
    *,
    predictions: Predictions,
    dataset: str,
    agent: str,
    question_id: UUID | None = None,
) -> Iterator[bytes]:
    """Yield bulks of `rows`, usable or rejected, in the order given and in bounded memory."""
    items = (
        orjson.dumps(
            item(
                labelled.record,
                labelled.prediction,
                row=labelled.row,
                dataset=dataset,
                agent=agent,
                question_id=question_id,
            )
        )
        for labelled in read_labelled(reader, rows, predictions)
    )
    return coalesce(_bulks(items))


def _bulks(items: Iterator[bytes]) -> Iterator[bytes]:
    """Lines with as many items as one request may have; no bulk is empty."""
    held: list[bytes] = []
    size = 0
    for made in items:
        if held and (len(held) == MAX_ITEMS or size + len(made) > MAX_BULK_BYTES):
            yield _bulk(held)
            held, size = [], 0
        held.append(made)
        size += len(made)
    if held:
        yield _bulk(held)


def _bulk(items: list[bytes]) -> bytes:
    return b'{"items":[' + b",".join(items) + b"]}\n"
