"""A worker process: one at a time it takes units of work from its queues, until it is asked to stop.

Started by `winnow worker`, and by `winnow serve` as a child process. A second worker is a second process: Celery keeps
its state per process.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, get_args

import structlog
from celery import Celery, signals
from celery.exceptions import SecurityWarning

from winnow.errors import ConfigurationError, InvalidOption
from winnow.messages import QUEUE_SCORE, QUEUES, Offer
from winnow.proxy.engine import Engine
from winnow.settings import Settings
from winnow.spec import Dtype, RunSpec
from winnow.store.blobs import Blobs
from winnow.store.session import Database
from workers.app import make_app
from workers.engines import EngineCache
from workers.finalise import FinaliseHandler
from workers.ingest import IngestHandler
from workers.logs import configure_logs
from workers.presence import present
from workers.publisher import make_publisher
from workers.purge import PurgeHandler
from workers.score import ScoreHandler
from workers.tasks import register_run_work
from workers.unit import Handler, UnitRunner

POOL_SIZE = 2
"""Connections of a worker: one that works or finishes, one for lease and heartbeat. More are opened when both wait."""

log = structlog.get_logger()


def run_worker(
    settings: Settings,
    queues: Sequence[str],
    *,
    threads: int | None = None,
    load: Callable[[RunSpec], Engine] | None = None,
) -> int:
    """Work until SIGTERM or SIGINT; returns the exit code.

    `queues` are names of `winnow.messages.QUEUES`. `threads` is this worker's share of the cores; workers that
    together use more threads than there are cores are many times slower than one after the other. `load` makes engines
    in another way than `winnow.proxy.loading`.

    Raises:
        InvalidOption: an unknown queue.
        ConfigurationError: no database, broker or blob store is named.
    """
    offers = offered(settings, queues)
    names = queue_names(queues, offers)
    num_threads = threads or settings.threads or available_cores()
    limit_library_threads(num_threads)
    configure_logs(settings.log_level)
    app = make_app(settings)
    stopping = stop_on_signal()
    worker_id = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    with ExitStack() as stack:
        database = Database(_required(settings.database_url), pool_size=POOL_SIZE)
        stack.callback(database.dispose)
        engines = EngineCache(load or engine_loader(settings, num_threads))
        if offers:
            engines.warm_up(default_spec(settings))
        runner = UnitRunner(
            database=database,
            publish=make_publisher(app),
            handlers=make_handlers(settings, database, engines),
            worker_id=worker_id,
            queues=frozenset(names),
            lease_s=settings.lease_s,
            stopping=stopping,
        )
        register_run_work(app, runner.run)
        stack.enter_context(present(database, worker_id=worker_id, queues=names, offers=offers))
        log.info("worker starts", worker=worker_id, queues=names, threads=num_threads)
        return consume(app, names, worker_id)


def make_handlers(
    settings: Settings, database: Database, engines: EngineCache
) -> Mapping[str, Handler]:
    """One handler for each kind of work."""
    blobs = Blobs(_required(settings.blob_url))
    return {
        "ingest": IngestHandler(settings=settings, database=database, blobs=blobs),
        "score": ScoreHandler(database=database, blobs=blobs, engines=engines),
        "finalise": FinaliseHandler(database=database, blobs=blobs),
        "purge": PurgeHandler(database=database, blobs=blobs),
    }


def offered(settings: Settings, queues: Sequence[str]) -> tuple[Offer, ...]:
    """What a worker on these queues can run: every model of the installation, in both number formats."""
    if QUEUE_SCORE not in queues:
        return ()
    return tuple(
        Offer(engine=settings.default_engine, model=model, dtype=dtype)
        for model in settings.models
        for dtype in get_args(Dtype)
    )


def default_spec(settings: Settings) -> RunSpec:
    """What a run asks for that names nothing."""
    return RunSpec(
        engine=settings.default_engine,
        model=settings.models[0],
        dtype=settings.dtype,
        token_budget=settings.token_budget,
    )


def queue_names(queues: Sequence[str], offers: Sequence[Offer]) -> list[str]:
    """Names on the broker: `score` stands for the queue of every offer.

    Raises:
        InvalidOption: an unknown queue, or none.
    """
    unknown = [queue for queue in queues if queue not in QUEUES]
    if unknown or not queues:
        raise InvalidOption(
            f"--queues takes some of {', '.join(QUEUES)}, separated by commas; got {','.join(unknown)!r}.",
            param="queues",
        )
    plain = [queue for queue in queues if queue != QUEUE_SCORE]
    return [*plain, *(offer.queue for offer in offers)]


def engine_loader(settings: Settings, num_threads: int) -> Callable[[RunSpec], Engine]:
    """Loads engines on the device of this worker; torch is imported when the first one is needed."""

    def load(spec: RunSpec) -> Engine:
        from winnow.proxy.loading import load_engine  # noqa: PLC0415  takes seconds; io never needs it

        return load_engine(spec, device=settings.device, threads=num_threads)

    return load


def available_cores() -> int:
    """Cores that this process may use, which in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limit_library_threads(num_threads: int) -> None:
    """Leave the cores to the engine's own lanes; read by the libraries once, when they are imported."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    os.environ["RAYON_NUM_THREADS"] = str(num_threads)


def stop_on_signal() -> threading.Event:
    """An event that Celery's own handler of SIGTERM and SIGINT sets, in the middle of a unit too."""
    stopping = threading.Event()

    def stop(**_: Any) -> None:
        stopping.set()

    signals.worker_shutting_down.connect(stop, weak=False)
    return stopping


def consume(app: Celery, names: Sequence[str], worker_id: str) -> int:
    """Take messages until a signal ends it; returns the exit code."""
    with warnings.catch_warnings():
        # Celery warns of root because of pickled messages; nothing but JSON is accepted here.
        warnings.simplefilter("ignore", SecurityWarning)
        worker = app.Worker(
            hostname=worker_id,
            queues=list(names),
            quiet=True,
            # Workers tell each other nothing through the broker: the database is where they meet.
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )
    worker.start()
    return int(worker.exitcode or 0)


def _required(value: str | None) -> str:
    if value is None:
        raise ConfigurationError(
            "A worker needs WINNOW_DATABASE_URL, WINNOW_BROKER_URL and WINNOW_BLOB_URL; `winnow serve` starts one "
            "worker of its own."
        )
    return value
