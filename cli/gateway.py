"""Runs the HTTP gateway on a socket that is already listening."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from service.app import create_app
from winnow.errors import ConfigurationError
from winnow.settings import Settings

CLOSE_STREAMS_S = 3
"""Answers still being streamed when the gateway stops get this long."""


class Gateway(uvicorn.Server):  # type: ignore[misc]  # its types are not followed
    """uvicorn with our application; `on_ready` is called once requests are answered."""

    def __init__(self, settings: Settings, on_ready: Callable[[], None] = lambda: None) -> None:
        super().__init__(
            uvicorn.Config(
                create_app(settings),
                log_config=None,
                access_log=False,
                lifespan="on",
                timeout_graceful_shutdown=CLOSE_STREAMS_S,
            )
        )
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets=sockets)
        if self.started:
            self._on_ready()


def serve_on(listener: socket.socket, settings: Settings, on_ready: Callable[[], None]) -> None:
    """Answer requests until SIGINT or SIGTERM.

    Raises:
        ConfigurationError: the application could not start; the log says why.
    """
    gateway = Gateway(settings, on_ready)
    gateway.run(sockets=[listener])
    if not gateway.started:
        raise ConfigurationError("The gateway could not start; the lines above say why.")


@contextmanager
def serving_in_thread(listener: socket.socket, settings: Settings) -> Iterator[None]:
    """Answer requests from a thread while the context lasts."""
    gateway = Gateway(settings)
    thread = threading.Thread(target=gateway.run, kwargs={"sockets": [listener]}, name="gateway")
    thread.start()
    try:
        while thread.is_alive() and not gateway.started:
            time.sleep(0.02)
        yield
    finally:
        gateway.should_exit = True
        thread.join()
