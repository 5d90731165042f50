"""A real receiver on this machine: it keeps what it is sent, and answers as a test says."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook


@dataclass(frozen=True)
class Received:
    """One request."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def message_id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> dict[str, Any]:
        """The message, if its signature is that of the secret."""
        message: dict[str, Any] = Webhook(secret).verify(self.body, dict(self.headers))
        return message


@dataclass(frozen=True)
class Reply:
    """An answer: nothing for `pause_s`, then a status with headers; `drip_s`: a byte of them at a time."""

    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    pause_s: float = 0.0
    drip_s: float = 0.0


class Receiver:
    """Answers the requests with `replies`, one after the other and the last one again and again."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.received: list[Received] = []
        self.replies: list[Reply] = [Reply()]
        self.ended = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def wait(self, count: int, *, within_s: float = 30.0) -> list[Received]:
        """The first so many requests."""
        deadline = time.monotonic() + within_s
        while len(self.received) < count:
            assert time.monotonic() < deadline, f"{len(self.received)} of {count} came"
            time.sleep(0.02)
        return self.received[:count]


@contextmanager
def receiving(*, certificate: Path | None = None) -> Iterator[Receiver]:
    """A receiver while the block lasts; over TLS if it has a certificate (with its key)."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.received.append(Received(self.path, headers, body))
            number = min(len(receiver.received), len(receiver.replies))
            self._answer(receiver.replies[number - 1])

        def _answer(self, reply: Reply) -> None:
            if receiver.ended.wait(reply.pause_s):
                return
            lines = [f"HTTP/1.1 {reply.status} Told", "Content-Length: 0", "Connection: close"]
            lines += [f"{name}: {value}" for name, value in reply.headers.items()]
            answer = "\r\n".join([*lines, "", ""]).encode()
            if not reply.drip_s:
                self.wfile.write(answer)
                return
            for byte in answer:
                if receiver.ended.wait(reply.drip_s):
                    return
                self.wfile.write(bytes([byte]))

        def log_message(self, *_: object) -> None:
            """What tests should know stands in `received`."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Who waits no longer hangs up."""

    with Server(("127.0.0.1", 0), Handler) as server:
        receiver = Receiver(server.server_address[1])
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield receiver
        finally:
            receiver.ended.set()
            server.shutdown()
            thread.join()
