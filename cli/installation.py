"""The parts of an installation around a gateway: database, worker and sweeper, started here and ended here."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from ipaddress import ip_address
from typing import IO

from cli.database import usable
from cli.worker_process import WorkerProcess
from winnow.errors import ConfigurationError, DependencyMissing
from winnow.settings import Settings


@contextmanager
def embedded(settings: Settings) -> Iterator[Settings]:
    """Hold the data folder and run its Postgres, migrated; yields the settings with every place filled in.

    Raises:
        ConfigurationError: another process serves from this folder.
    """
    from winnow.store import migrate
    from winnow.store.embedded import EmbeddedPostgres

    with _held(settings), ExitStack() as stack:
        postgres = EmbeddedPostgres(settings.data_dir)
        # Registered first: a start that is interrupted halfway is ended too.
        stack.callback(postgres.stop)
        postgres.start()
        migrate.upgrade(postgres.url)
        yield settings.embedded_at(postgres.url)


def check_migrated(settings: Settings) -> None:
    """Refuse a database that lacks migrations; a service is upgraded on purpose, not by whoever starts first.

    Raises:
        ConfigurationError: says which command upgrades it.
    """
    from winnow.store import migrate

    with usable():
        pending = migrate.pending(settings.database_url or "")
    if pending:
        raise ConfigurationError("The database lacks migrations. Run `winnow db upgrade` first.")


@contextmanager
def background(settings: Settings, *, worker_log: IO[bytes], trains: bool = True) -> Iterator[None]:
    """Run a worker process, one that trains, and a sweeper thread beside the caller.

    Where nothing can train, jobs wait, and say for what.

    Raises:
        DependencyMissing: the worker could not score anything here.
    """
    if find_spec("torch") is None:
        raise DependencyMissing("A worker needs torch to score: pip install 'winnow[local]'.")
    workers = [WorkerProcess(settings, queues="io,score", log=worker_log)]
    if trains and find_spec("trl") is not None:
        threads = _training_threads(settings)
        workers.append(WorkerProcess(settings, queues="train", threads=threads, log=worker_log))
    with ExitStack() as stack:
        for worker in workers:
            stack.enter_context(worker)
        # Each is asked to end before the first is waited for.
        for worker in workers:
            stack.callback(worker.ask_to_end)
        stack.enter_context(_sweeper(settings))
        yield


def check_host(host: str) -> None:
    """Refuse to show an installation without keys to a network.

    Raises:
        ConfigurationError: `host` is not this machine alone.
    """
    if host == "localhost":
        return
    try:
        loopback = ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ConfigurationError(
            f"The embedded mode knows no keys, so it listens on this machine only and not on {host!r}. For a network, "
            "set WINNOW_DATABASE_URL, WINNOW_BROKER_URL and WINNOW_BLOB_URL, and make keys with `winnow keys create`."
        )


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, taken before anything else is started; port 0 takes a free one.

    Raises:
        ConfigurationError: the port is taken, or the address is not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigurationError(
                f"Port {port} on {host} is in use. Stop what listens there, or choose another with --port."
            ) from error
        raise ConfigurationError(
            f"Cannot listen on {host} port {port}: {error.strerror}."
        ) from error
    return listener


def address(listener: socket.socket) -> str:
    """The URL under which `listener` is reached from this machine."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def _held(settings: Settings) -> Iterator[None]:
    from filelock import FileLock, Timeout

    settings.data_dir.mkdir(parents=True, exist_ok=True)
    # The kernel takes the lock back from a process that is killed.
    lock = FileLock(settings.data_dir / "serve.lock", blocking=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise ConfigurationError(
            f"Another `winnow serve` uses the folder {settings.data_dir}. Stop it, or choose another with --data-dir."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _training_threads(settings: Settings) -> int:
    """Half of the cores: training lasts for long, and scoring beside it should not be many times slower."""
    from winnow.cores import available_cores

    return max(1, (settings.threads or available_cores()) // 2)


@contextmanager
def _sweeper(settings: Settings) -> Iterator[None]:
    from workers.sweep import sweep_forever

    stop = threading.Event()
    thread = threading.Thread(
        target=sweep_forever, args=(settings, stop), name="sweeper", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
