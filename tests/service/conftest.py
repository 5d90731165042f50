"""A gateway on real servers, two owners with keys, and workers that run in the test when it says so."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from openai import OpenAI
from sqlalchemy import func, select

from service.app import create_app
from tests.service.learning import OPTIONS, Trainer, load_learner
from winnow.messages import Offer
from winnow.settings import Settings
from winnow.store.session import Database
from winnow.store.tables import work as units
from workers.engines import EngineCache
from workers.run import make_handlers
from workers.unit import UnitRunner

RECORDS = [
    {
        "instruction": f"Question {n}",
        "input": "",
        "output": f"Answer number {n}",
        "source": "ab"[n % 2],
    }
    for n in range(20)
]


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    """The gateway of a service, not started."""
    return create_app(settings)


@pytest.fixture
def client(app: FastAPI, make_key: Callable[[str], str]) -> Iterator[TestClient]:
    """The gateway, asked by `alice`."""
    headers = {"Authorization": f"Bearer {make_key('alice')}"}
    with TestClient(app, headers=headers, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def bob(make_key: Callable[[str], str]) -> dict[str, str]:
    """Headers of another owner."""
    return {"Authorization": f"Bearer {make_key('bob')}"}


@pytest.fixture
def live(app: FastAPI, make_key: Callable[[str], str]) -> Iterator[httpx.Client]:
    """The gateway behind a real server, for what a test client can't do: read an answer while it is written."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            headers = {"Authorization": f"Bearer {make_key('alice')}"}
            with httpx.Client(base_url=url, headers=headers, timeout=30) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def openai(live: httpx.Client) -> Iterator[OpenAI]:
    """OpenAI's own client, unchanged, asked by `alice`; it does not repeat what failed."""
    key = live.headers["Authorization"].removeprefix("Bearer ")
    with OpenAI(base_url=f"{live.base_url}/v1", api_key=key, max_retries=0) as client:
        yield client


@pytest.fixture
def work(settings: Settings, database: Database) -> Callable[[], None]:
    """Does all units that are due, and those that follow from them, as workers would that do not train."""
    queues = _queues(settings)
    runner = UnitRunner(
        database=database,
        publish=lambda _: None,
        handlers=make_handlers(settings, database, EngineCache(load_learner)),
        worker_id="test",
        queues=frozenset(queues),
        lease_s=settings.lease_s,
        stopping=threading.Event(),
    )

    def run_all() -> None:
        while queued := _queued(database, queues):
            for work_id in queued:
                runner.run(work_id)

    return run_all


@pytest.fixture
def trainer(database: Database) -> Trainer:
    """Trains what is queued to be trained."""
    return Trainer(database)


@pytest.fixture
def learn(work: Callable[[], None], trainer: Trainer) -> Callable[..., dict[str, Any]]:
    """Makes a completed run on `RECORDS`, over any connection, whose method watches the proxy learn."""

    def make(client: httpx.Client, **options: Any) -> dict[str, Any]:
        started = client.post("/score", json=RECORDS, params=OPTIONS | options).json()
        work()
        run: dict[str, Any] = client.get(f"/runs/{started['id']}").json()
        if run["status"] == "training":
            trainer.train(run["trajectory"])
            work()
            run = client.get(f"/runs/{started['id']}").json()
        assert run["status"] == "completed", run
        return run

    return make


@pytest.fixture
def learned(
    client: TestClient, learn: Callable[..., dict[str, Any]]
) -> Callable[..., dict[str, Any]]:
    """Makes such a run of `alice`."""
    return partial(learn, client)


@pytest.fixture
def finished_run(client: TestClient, work: Callable[[], None]) -> dict[str, Any]:
    """A completed run of `alice` on `RECORDS`."""
    started = client.post("/score", json=RECORDS).json()
    work()
    run: dict[str, Any] = client.get(f"/runs/{started['id']}").json()
    assert run["status"] == "completed", run
    return run


def _queued(database: Database, queues: list[str]) -> list[int]:
    queued = select(units.c.id).where(
        units.c.state == "queued",
        units.c.queue.in_(queues),
        units.c.available_at <= func.clock_timestamp(),
    )
    with database.transaction() as connection:
        return list(connection.scalars(queued.order_by(units.c.id)))


def _queues(settings: Settings) -> list[str]:
    offers = [
        Offer(engine="torch", model=model, dtype=dtype)
        for model in settings.models
        for dtype in ("float32", "bfloat16")
    ]
    return ["io", *(offer.queue for offer in offers)]
