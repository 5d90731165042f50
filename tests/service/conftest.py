"""A gateway on real servers, two owners with keys, and workers that run in the test when it says so."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from openai import OpenAI
from sqlalchemy import text

from service.app import create_app
from service.proxies import local_revision
from tests.fakes import FakeEngine
from winnow.messages import Offer
from winnow.settings import Settings
from winnow.store.blobs import Blobs
from winnow.store.session import Database
from workers.engines import EngineCache
from workers.estimate import EstimateHandler
from workers.finalise import FinaliseHandler
from workers.ingest import IngestHandler
from workers.purge import PurgeHandler
from workers.score import ScoreHandler
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
def work(settings: Settings, database: Database, blobs: Blobs) -> Callable[[], None]:
    """Does all units that are queued, and those that follow from them, as a worker would."""
    engines = EngineCache(lambda _: FakeEngine(revision=local_revision("winnow-mini") or ""))
    runner = UnitRunner(
        database=database,
        publish=lambda _: None,
        handlers={
            "ingest": IngestHandler(settings=settings, database=database, blobs=blobs),
            "score": ScoreHandler(database=database, blobs=blobs, engines=engines),
            "estimate": EstimateHandler(database=database, blobs=blobs, engines=engines),
            "finalise": FinaliseHandler(database=database, blobs=blobs),
            "purge": PurgeHandler(database=database, blobs=blobs),
        },
        worker_id="test",
        queues=frozenset(_queues(settings)),
        lease_s=settings.lease_s,
        stopping=threading.Event(),
    )

    def run_all() -> None:
        while queued := _queued(database):
            for work_id in queued:
                runner.run(work_id)

    return run_all


@pytest.fixture
def finished_run(client: TestClient, work: Callable[[], None]) -> dict[str, Any]:
    """A completed run of `alice` on `RECORDS`."""
    started = client.post("/score", json=RECORDS).json()
    work()
    run: dict[str, Any] = client.get(f"/runs/{started['id']}").json()
    assert run["status"] == "completed", run
    return run


def _queued(database: Database) -> list[int]:
    with database.transaction() as connection:
        return list(
            connection.scalars(text("SELECT id FROM work WHERE state = 'queued' ORDER BY id"))
        )


def _queues(settings: Settings) -> list[str]:
    offers = [
        Offer(engine="torch", model=model, dtype=dtype)
        for model in settings.models
        for dtype in ("float32", "bfloat16")
    ]
    return ["io", *(offer.queue for offer in offers)]
