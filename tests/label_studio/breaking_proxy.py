"""A connection to a server on which one request goes wrong.

Its answer is lost: the server did what it was asked, and nobody hears of it. Or it is refused on the way.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

CHUNK_BYTES = 1 << 16


@dataclass
class BreakingProxy:
    """Passes bytes both ways, except the answer to the first request that begins with `loses`.

    With `refusal`, that request is answered with it and never reaches the server.
    """

    target: tuple[str, int]
    loses: bytes
    refusal: bytes = b""
    num_lost: int = 0
    _listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def serve(self) -> None:
        """Accept until `close`."""
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def close(self) -> None:
        """Accept no more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _pass_on(self, client: socket.socket) -> None:
        lost = threading.Event()
        with client, socket.create_connection(self.target) as server, suppress(OSError):
            back = threading.Thread(target=self._answer, args=(server, client, lost), daemon=True)
            back.start()
            while data := client.recv(CHUNK_BYTES):
                if self.num_lost == 0 and data.startswith(self.loses):
                    self.num_lost += 1
                    if self.refusal:
                        client.sendall(self.refusal)
                        return
                    lost.set()
                server.sendall(data)

    def _answer(self, server: socket.socket, client: socket.socket, lost: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(CHUNK_BYTES):
                if lost.is_set():
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(data)


@contextmanager
def breaking_proxy(
    url: str, *, loses_answer_to: str, refusal: bytes = b""
) -> Iterator[BreakingProxy]:
    """A proxy in front of `url`; `loses_answer_to` is how the request begins, `POST /path`."""
    parts = urlsplit(url)
    target = (str(parts.hostname), int(parts.port or 80))
    proxy = BreakingProxy(target=target, loses=loses_answer_to.encode(), refusal=refusal)
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join()
