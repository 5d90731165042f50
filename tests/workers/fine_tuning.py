"""Fine-tunes as a gateway makes them and as a test sees them, in a house or in an installation of processes."""

from __future__ import annotations

import json
from typing import Any, Protocol

from tests.workers.house import OWNER, House
from winnow.messages import QUEUE_IO, QUEUE_TRAIN, Wakeup
from winnow.settings import Settings
from winnow.store.blobs import Blobs
from winnow.store.events import Event, list_events
from winnow.store.files import File, create_file, get_file, new_file_id
from winnow.store.fine_tunes import FineTune, create_fine_tune, load_fine_tune
from winnow.store.session import Database
from winnow.training.spec import FineTuneSpec
from workers.unit import UnitRunner


def conversations(num_rows: int) -> bytes:
    """JSON lines in OpenAI's chat format."""
    rows = (
        {
            "messages": [
                {"role": "user", "content": f"Square {number}"},
                {"role": "assistant", "content": f"It is {number * number}."},
            ]
        }
        for number in range(num_rows)
    )
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


class Place(Protocol):
    """Where fine-tunes are: a house, or an installation of processes."""

    settings: Settings
    database: Database
    blobs: Blobs


def post_file(place: Place, data: bytes, *, owner: str = OWNER) -> str:
    file_id = new_file_id()
    blob = f"files/{file_id}/content"
    with place.blobs.write(blob) as file:
        file.write(data)
    with place.database.transaction() as connection:
        create_file(
            connection,
            owner=owner,
            file_id=file_id,
            filename="train.jsonl",
            size_bytes=len(data),
            purpose="fine-tune",
            sha256="0" * 64,
            blob=blob,
        )
    return file_id


def create_job(
    place: Place,
    training_file: str,
    *,
    validation_file: str | None = None,
    webhook_url: str | None = None,
    **options: Any,
) -> tuple[str, list[Wakeup]]:
    with place.database.transaction() as connection:
        job, wakeups = create_fine_tune(
            connection,
            owner=OWNER,
            spec=FineTuneSpec.make(**options),
            training_file=training_file,
            validation_file=validation_file,
            webhook_url=webhook_url,
            settings=place.settings,
        )
    return job.id, wakeups


def start_job(house: House, training_file: str, **options: Any) -> str:
    """Create a job; its message is with the others of the house."""
    job_id, wakeups = create_job(house, training_file, **options)
    house.published += wakeups
    return job_id


def trainer(house: House, **options: Any) -> UnitRunner:
    """A worker that takes what fine-tunes need."""
    return house.runner(**{"queues": frozenset({QUEUE_IO, QUEUE_TRAIN})} | options)


def job_of(place: Place, job_id: str) -> FineTune:
    with place.database.transaction() as connection:
        return load_fine_tune(connection, job_id)


def files_of(place: Place, job: FineTune) -> dict[str, File]:
    """The files of a result by their names, in their order."""
    with place.database.transaction() as connection:
        found = [
            get_file(connection, owner=job.owner, file_id=file_id) for file_id in job.result_files
        ]
    return {file.filename: file for file in found}


def events_of(place: Place, job_id: str) -> list[Event]:
    """All events of a job, after a check that their numbers have no gap."""
    with place.database.transaction() as connection:
        events = list_events(connection, owner=OWNER, subject=job_id, limit=10_000)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    return events


def steps_told(place: Place, job_id: str) -> list[int]:
    return [
        event.data["step"] for event in events_of(place, job_id) if event.type == "fine_tune.step"
    ]


def folders_in_use(place: Place) -> list[str]:
    """What attempts have left on this disk."""
    return [path.name for path in (place.settings.work_folder / "jobs").glob("*")]
