"""A gateway that can go away and come back at the same address, and a worker that works when it is told to."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import uvicorn
from sqlalchemy import select

from service.app import create_app
from tests.service.learning import Trainer, load_learner
from winnow.messages import Offer
from winnow.settings import Settings
from winnow.store.session import Database
from winnow.store.tables import work as units
from workers.engines import EngineCache
from workers.run import make_handlers
from workers.unit import UnitRunner

IDLE_S = 0.02


@dataclass
class Gateway:
    """The gateway of an installation behind a real server; `port` is its own from the first start on."""

    settings: Settings
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def serving(self) -> Iterator[str]:
        """The address, while it is served."""
        with socket.socket() as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(("127.0.0.1", self.port))
            self.port = listening.getsockname()[1]
            # Streams that are read for ever do not keep it from going away.
            config = uvicorn.Config(
                create_app(self.settings),
                log_level="critical",
                ws="none",
                timeout_graceful_shutdown=0,
            )
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, args=([listening],))
            thread.start()
            try:
                while not server.started:
                    time.sleep(0.01)
                yield self.url
            finally:
                server.should_exit = True
                thread.join()


@dataclass
class Worker:
    """Does queued units, with an engine that has no model: one, all, or whatever comes while it is running."""

    settings: Settings
    database: Database
    runner: UnitRunner = field(init=False)

    def __post_init__(self) -> None:
        offers = [
            Offer(engine="torch", model=model, dtype="float32") for model in self.settings.models
        ]
        self.queues = ["io", *(offer.queue for offer in offers)]
        self.runner = UnitRunner(
            database=self.database,
            publish=lambda _: None,
            handlers=make_handlers(self.settings, self.database, EngineCache(load_learner)),
            worker_id="test",
            queues=frozenset(self.queues),
            lease_s=self.settings.lease_s,
            stopping=threading.Event(),
        )
        self.trainer = Trainer(self.database)

    def queued(self) -> list[int]:
        """The units that wait, the oldest first."""
        queued = select(units.c.id).where(units.c.state == "queued", units.c.queue.in_(self.queues))
        with self.database.transaction() as connection:
            return list(connection.scalars(queued.order_by(units.c.id)))

    def do_one(self) -> bool:
        """Do the unit that has waited longest; False if there is none."""
        queued = self.queued()
        if queued:
            self.runner.run(queued[0])
        return bool(queued)

    def do_all(self) -> None:
        while self.do_one():
            pass

    @contextmanager
    def running(self) -> Iterator[None]:
        """Does whatever comes, beside the test."""
        over = threading.Event()

        def work() -> None:
            while not over.is_set():
                if not self.do_one():
                    time.sleep(IDLE_S)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
