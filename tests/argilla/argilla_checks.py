"""Argilla's own checks of a bulk request, without the server that they belong to; runs in Argilla's environment.

    argilla_checks.py SETTINGS.json FILE.jsonl...

Each line of a file goes through the schema of `PUT /api/v1/datasets/{uuid}/records/bulk` and, record by record, through
the checks against a dataset with these settings, which is made in memory.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from pathlib import Path
from uuid import UUID, uuid4

# The package's own __init__ starts the whole server, which needs far more than its schemas do.
spec = importlib.util.find_spec("argilla_server")
assert spec is not None
sys.modules["argilla_server"] = importlib.util.module_from_spec(spec)

import argilla_server.contexts.records  # noqa: E402, F401  # first, since it and the validators import each other
from argilla_server.api.schemas.v1.records_bulk import RecordsBulkUpsert  # noqa: E402
from argilla_server.errors.future import UnprocessableEntityError  # noqa: E402
from argilla_server.models import Dataset, Field, MetadataProperty, Question  # noqa: E402
from argilla_server.validators.records import RecordCreateValidator  # noqa: E402


def dataset_of(settings: dict) -> Dataset:
    """A published dataset as the settings describe it."""
    return Dataset(
        id=uuid4(),
        name="check",
        status="ready",
        allow_extra_metadata=False,
        fields=[
            Field(name=name, title=name, required=True, settings={"type": "text"})
            for name in settings["fields"]
        ],
        questions=[
            Question(
                id=UUID(settings["question_id"]),
                name="verdict",
                title="verdict",
                required=True,
                settings={
                    "type": "label_selection",
                    "options": [{"value": label, "text": label} for label in settings["labels"]],
                },
            )
        ],
        metadata_properties=[
            MetadataProperty(name=name, title=name, settings={"type": kind})
            for name, kind in settings["metadata"].items()
        ],
        vectors_settings=[],
    )


async def check(bulks: bytes, dataset: Dataset) -> list[int] | str:
    """How many records each line has, or why Argilla would refuse one."""
    counts = []
    for line in bulks.splitlines():
        try:
            bulk = RecordsBulkUpsert.model_validate(json.loads(line))
            for item in bulk.items:
                await RecordCreateValidator.validate(item, dataset)
        except (UnprocessableEntityError, ValueError) as error:
            return str(error)
        counts.append(len(bulk.items))
    return counts


async def check_all(dataset: Dataset, files: list[bytes]) -> list[list[int] | str]:
    """What `check` says of each file."""
    return [await check(file, dataset) for file in files]


if __name__ == "__main__":
    settings, *files = (Path(name).read_bytes() for name in sys.argv[1:])
    dataset = dataset_of(json.loads(settings))
    json.dump(asyncio.run(check_all(dataset, files)), sys.stdout)
