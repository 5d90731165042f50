"""One installation in one process: real database and files, a worker's frame, and messages that a test can look at."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import text

from tests.fakes import FakeEngine
from winnow.messages import Offer, Wakeup
from winnow.proxy.engine import Engine
from winnow.settings import Settings
from winnow.spec import RunSpec
from winnow.store.blobs import Blobs
from winnow.store.datasets import Dataset, create_dataset, load_dataset
from winnow.store.ids import new_id
from winnow.store.runs import Run, create_run, load_run
from winnow.store.session import Database
from workers.engines import EngineCache
from workers.run import make_handlers
from workers.unit import Handler, UnitRunner

OWNER = "alice"


def alpaca(num_rows: int) -> bytes:
    """JSON lines that all can be scored, no two of them alike."""
    rows = (
        {"instruction": f"Square {number}", "input": "", "output": f"It is {number * number}."}
        for number in range(num_rows)
    )
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@dataclass
class House:
    """What a gateway does, said in one line each; `published` are the messages that nobody has taken yet."""

    settings: Settings
    database: Database
    blobs: Blobs
    published: list[Wakeup] = field(default_factory=list)

    def upload(self, data: bytes, *, requested_format: str = "auto") -> str:
        dataset_id = new_id("ds")
        with self.blobs.write(f"datasets/{dataset_id}/upload") as file:
            file.write(data)
        with self.database.transaction() as connection:
            _, wakeups = create_dataset(
                connection,
                owner=OWNER,
                dataset_id=dataset_id,
                name=None,
                sha256=dataset_id,
                size_bytes=len(data),
                requested_format=requested_format,
                settings=self.settings,
            )
        self.published += wakeups
        return dataset_id

    def start_run(
        self,
        dataset_id: str,
        *,
        revision: str | None = None,
        dry_run: bool = False,
        webhook_url: str | None = None,
        **options: Any,
    ) -> str:
        with self.database.transaction() as connection:
            run, wakeups = create_run(
                connection,
                owner=OWNER,
                dataset_id=dataset_id,
                spec=RunSpec.make(**options),
                revision=revision,
                dry_run=dry_run,
                webhook_url=webhook_url,
                settings=self.settings,
            )
        self.published += wakeups
        return run.id

    def runner(
        self,
        handlers: Mapping[str, Handler] | None = None,
        *,
        load: Callable[[RunSpec], Engine] = lambda _: FakeEngine(),
        **options: Any,
    ) -> UnitRunner:
        offer = Offer(engine="torch", model="winnow-mini", dtype="float32")
        defaults: dict[str, Any] = {
            "publish": self.published.extend,
            "worker_id": "worker-1",
            "queues": frozenset({"io", offer.queue}),
            "lease_s": self.settings.lease_s,
            "stopping": threading.Event(),
        }
        return UnitRunner(
            database=self.database,
            handlers=handlers
            or make_handlers(
                self.settings,
                self.database,
                EngineCache(load),
                publish=self.published.extend,
            ),
            **defaults | options,
        )

    def work(self, runner: UnitRunner | None = None) -> None:
        """Take messages until there are none."""
        runner = runner or self.runner()
        while self.published:
            runner.run(self.published.pop(0).work_id)

    def dataset(self, dataset_id: str) -> Dataset:
        with self.database.transaction() as connection:
            return load_dataset(connection, dataset_id)

    def run(self, run_id: str) -> Run:
        with self.database.transaction() as connection:
            return load_run(connection, run_id)

    def unit(self, work_id: int) -> Mapping[str, Any]:
        """The row of a unit as it stands."""
        return self.rows("SELECT * FROM work WHERE id = :id", id=work_id)[0]

    def execute(self, statement: str, **values: Any) -> None:
        """A change that no function of the store makes, such as the passing of time."""
        with self.database.transaction() as connection:
            connection.execute(text(statement), values)

    def count(self, table: str) -> int:
        return int(self.rows(f"SELECT count(*) AS num FROM {table}")[0]["num"])  # noqa: S608  our own tables

    def rows(self, statement: str, **values: Any) -> Sequence[Mapping[str, Any]]:
        with self.database.transaction() as connection:
            return [row._mapping for row in connection.execute(text(statement), values)]
