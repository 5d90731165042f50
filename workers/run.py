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
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import structlog
from celery import Celery, signals
from celery.exceptions import SecurityWarning

from winnow.cores import available_cores
from winnow.errors import ConfigurationError, DependencyMissing, InvalidOption
from winnow.messages import QUEUE_IO, QUEUE_SCORE, QUEUE_TRAIN, QUEUES, Offer, Publish
from winnow.proxy.engine import Engine
from winnow.proxy.loading import check_engine, load_embedder, load_engine
from winnow.settings import Settings
from winnow.spec import Dtype, EngineName, RunSpec
from winnow.store.blobs import Blobs
from winnow.store.session import Database
from winnow.training.names import is_fine_tuned
from workers.app import make_app
from workers.aside import Aside
from workers.checkpoints import CheckpointFiles, is_checkpoint
from workers.engines import EmbedderCache, EngineCache
from workers.estimate import EstimateHandler
from workers.evaluate import EvaluateHandler
from workers.finalise import FinaliseHandler
from workers.fine_tune import TrainHandler
from workers.fine_tuned import ModelFiles
from workers.index import IndexHandler
from workers.ingest import IngestHandler
from workers.logs import configure_logs
from workers.places import called
from workers.prepare import PrepareHandler
from workers.presence import present
from workers.publisher import make_publisher
from workers.purge import PurgeHandler
from workers.score import ScoreHandler
from workers.scratch import remove_abandoned
from workers.select import SelectHandler
from workers.tasks import register_run_work
from workers.transfer import OnPiece
from workers.unit import Handler, UnitRunner
from workers.webhooks import AT_ONCE, DeliverHandler

POOL_SIZE = 2
"""Connections of a worker: one that works or finishes, one for lease and heartbeat. As many more are opened when both
are in use; a worker that sends messages may need the same for each thread that does (`pool_size`)."""

ASIDE_GRACE_S = 5.0
"""A worker that ends waits so long for answers of receivers; what has none by then is sent again by another worker."""

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
        DependencyMissing: the queue is `train`, and nothing here can train; or the engine is not installed.
        ConfigurationError: no database, broker or blob store is named, or no running vLLM for its engine.
    """
    check_trainer(queues)
    if QUEUE_SCORE in queues:
        check_engine(settings)
    offers = offered(settings, queues)
    names = queue_names(queues, offers)
    num_threads = threads or settings.threads or available_cores()
    limit_library_threads(num_threads, settings.default_engine)
    configure_logs(settings.log_level)
    app = make_app(settings)
    stopping = stop_on_signal()
    worker_id = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    with ExitStack() as stack:
        database = Database(_required(settings.database_url), pool_size=pool_size(queues))
        stack.callback(database.dispose)
        engines = (
            make_engines(settings, database, num_threads) if load is None else EngineCache(load)
        )
        if offers:
            engines.warm_up(default_spec(settings))
        publish = make_publisher(app)
        aside = Aside(AT_ONCE)
        stack.callback(aside.close, ASIDE_GRACE_S)
        runner = UnitRunner(
            database=database,
            publish=publish,
            aside=aside,
            handlers=make_handlers(
                settings, database, engines, publish=publish, threads=num_threads
            ),
            worker_id=worker_id,
            queues=frozenset(names),
            lease_s=settings.lease_s,
            stopping=stopping,
        )
        remove_abandoned(settings.work_folder / "jobs")
        register_run_work(app, runner.run)
        stack.enter_context(present(database, worker_id=worker_id, queues=names, offers=offers))
        log.info("worker starts", worker=worker_id, queues=names, threads=num_threads)
        return consume(app, names, worker_id)


def pool_size(queues: Sequence[str]) -> int:
    """Connections that a worker on these queues keeps; twice as many are opened when they are needed.

    A thread that sends a message uses two: one for what it reads and writes, one for its lease.
    """
    return POOL_SIZE + AT_ONCE if QUEUE_IO in queues else POOL_SIZE


def make_handlers(
    settings: Settings,
    database: Database,
    engines: EngineCache,
    *,
    publish: Publish = lambda _: None,
    threads: int = 1,
) -> Mapping[str, Handler]:
    """One handler for each kind of work.

    `publish` sends what a unit sets going before it is finished; what is not sent the sweeper sends.
    """
    blobs = Blobs(_required(settings.blob_url))
    models = model_files(settings, database)
    checkpoints = checkpoint_files(settings, database)
    embedders = EmbedderCache(partial(load_embedder, settings=settings))
    return {
        "ingest": IngestHandler(settings=settings, database=database, blobs=blobs),
        "score": ScoreHandler(database=database, blobs=blobs, engines=engines, embedders=embedders),
        "evaluate": EvaluateHandler(database=database, blobs=blobs, engines=engines),
        "estimate": EstimateHandler(database=database, blobs=blobs, engines=engines),
        "finalise": FinaliseHandler(database=database, blobs=blobs),
        "select": SelectHandler(database=database, blobs=blobs),
        "index": IndexHandler(blobs=blobs),
        "deliver": DeliverHandler(settings=settings, database=database),
        "prepare": PrepareHandler(settings=settings, database=database, blobs=blobs),
        "train": TrainHandler(
            settings=settings,
            database=database,
            blobs=blobs,
            models=models,
            publish=publish,
            threads=threads,
        ),
        "purge": PurgeHandler(database=database, blobs=blobs, checkpoints=checkpoints),
    }


def model_files(settings: Settings, database: Database) -> ModelFiles:
    """Where this worker finds the files of a model."""
    blobs = Blobs(_required(settings.blob_url))
    return ModelFiles(database=database, blobs=blobs, root=settings.work_folder / "models")


def checkpoint_files(settings: Settings, database: Database) -> CheckpointFiles:
    """Where this worker finds the weights of a checkpoint."""
    blobs = Blobs(_required(settings.blob_url))
    return CheckpointFiles(
        database=database, blobs=blobs, root=settings.work_folder / "trajectories"
    )


def check_trainer(queues: Sequence[str]) -> None:
    """Refuse to take training work where nothing can train: another worker should have it.

    Raises:
        DependencyMissing: says what to install.
    """
    if QUEUE_TRAIN in queues and find_spec("trl") is None:
        raise DependencyMissing(
            "A training worker needs trl and peft: pip install 'winnow[train]'."
        )


def offered(settings: Settings, queues: Sequence[str]) -> tuple[Offer, ...]:
    """What a worker on these queues can run: every model of the installation, in both number formats.

    A running vLLM has one number format, that of the settings.
    """
    if QUEUE_SCORE not in queues:
        return ()
    dtypes = (settings.dtype,) if settings.default_engine == "vllm-server" else get_args(Dtype)
    return tuple(
        Offer(engine=settings.default_engine, model=model, dtype=dtype)
        for model in settings.models
        for dtype in dtypes
    )


def default_spec(settings: Settings) -> RunSpec:
    """What a run asks for that names nothing."""
    return RunSpec(
        engine=settings.default_engine,
        model=settings.models[0],
        dtype=settings.dtype,
        token_budget=settings.budget_of(settings.default_engine),
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


def make_engines(settings: Settings, database: Database, num_threads: int) -> EngineCache:
    """The engine of this worker, for models of the installation and for those that lie in its blob store."""
    models = model_files(settings, database)
    checkpoints = checkpoint_files(settings, database)

    def fetch(model: str, on_piece: OnPiece) -> None:
        if is_checkpoint(model):
            with checkpoints.fetched(model, on_piece=on_piece):
                return
        if is_fine_tuned(model):
            models.folder(model, on_piece=on_piece)

    return EngineCache(engine_loader(settings, database, num_threads), fetch)


def engine_loader(
    settings: Settings, database: Database, num_threads: int
) -> Callable[[RunSpec], Engine]:
    """Loads engines as this worker can run them; a model framework is imported when the first one is needed."""
    models = model_files(settings, database)
    checkpoints = checkpoint_files(settings, database)

    def load(spec: RunSpec) -> Engine:
        if is_checkpoint(spec.model):
            with checkpoints.fetched(spec.model) as folder:
                return load_from(folder, spec)
        if is_fine_tuned(spec.model):
            return load_from(models.folder(spec.model), spec)
        return load_engine(spec, settings=settings, threads=num_threads)

    def load_from(folder: Path, spec: RunSpec) -> Engine:
        named = replace(spec, model=str(folder))
        with called(folder, spec.model):
            return load_engine(named, settings=settings, threads=num_threads)

    return load


def limit_library_threads(num_threads: int, engine: EngineName = "torch") -> None:
    """Share out the cores; read by the libraries once, when they are imported.

    The torch engine has lanes of its own, each of a single thread. vLLM on a CPU has none, and uses the threads inside
    its operations.
    """
    inside = num_threads if engine == "vllm" else 1
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(inside)
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
