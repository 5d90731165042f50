"""A server that speaks as much of vLLM's HTTP as the server engine uses, and fails on command.

Its losses are those of `tests.fakes.token_losses`, so that right values are known; how a real vLLM answers is tested on
one, in `tests/vllm`.
"""

from __future__ import annotations

import base64
import io
import json
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from tests.fakes import token_losses

Json = dict[str, Any]
Fault = Callable[["Handler", Json], None]
"""Answers a request in place of the server, which would have said the JSON."""


@dataclass
class App:
    """What the server is and does. `faults` are taken by one request to score each, None being an honest answer."""

    name: str = "tiny"
    root: str = "/models/tiny"
    max_model_len: int = 129
    api_key: str | None = None
    adapters: tuple[str, ...] = ()
    scale_out: bool = False
    faults: deque[Fault | None] = field(default_factory=deque)
    always: Fault | None = None
    bias: float = 0.0
    poison: int | None = None
    delay_s: float = 0.0
    url: str = ""
    asked: list[tuple[str, Json]] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def prompts(self) -> list[int]:
        """How many prompts each request to score had."""
        return [len(body.get("prompt", [None])) for _, body in self.asked]

    def logprobs(self, tokens: Sequence[int]) -> list[float]:
        """Of each token given those before it, the first one's not to be used."""
        if self.poison in tokens:
            return [math.nan] * len(tokens)
        return [-loss - self.bias for loss in token_losses(tokens)]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        app = self.server.app
        card = {"id": app.name, "root": app.root, "max_model_len": app.max_model_len}
        adapters = [{"id": name, "root": name, "parent": app.name} for name in app.adapters]
        self.send({"data": [*adapters, card]} if self.path == "/v1/models" else {})

    def do_POST(self) -> None:
        app = self.server.app
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with app.lock:
            app.asked.append((self.path, body))
            app.keys.add(self.headers["Authorization"])
            app.at_once += 1
            app.most_at_once = max(app.most_at_once, app.at_once)
            fault = app.faults.popleft() if app.faults else app.always
        try:
            time.sleep(app.delay_s)
            self.answer(app, body, fault)
        finally:
            with app.lock:
                app.at_once -= 1

    def answer(self, app: App, body: Json, fault: Fault | None) -> None:
        if app.api_key is not None and self.headers["Authorization"] != f"Bearer {app.api_key}":
            self.send({"error": "Unauthorized"}, 401)
        elif body["model"] != app.name:
            self.refuse(404, f"The model `{body['model']}` does not exist.")
        elif self.path == "/inference/v1/generate" and not app.scale_out:
            self.refuse(403, "Scale-out endpoints are disabled.")
        else:
            answer = generate(app, body) if "token_ids" in body else completions(app, body)
            if fault is not None:
                fault(self, answer)
            elif "NaN" in json.dumps(answer):
                self.refuse(400, "Out of range float values are not JSON compliant")
            else:
                self.send(answer)

    def refuse(self, status: int, message: str, **headers: str) -> None:
        self.send({"error": {"message": message, "code": status}}, status, **headers)

    def send(self, answer: Json, status: int = 200, **headers: str) -> None:
        self.send_bytes(json.dumps(answer).encode(), status, **headers)

    def send_bytes(self, content: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, app: App, port: int) -> None:
        self.app = app
        super().__init__(("127.0.0.1", port), Handler)
        app.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        """Say nothing: clients that go away are what is tested."""


@contextmanager
def running(app: App, *, port: int = 0) -> Iterator[App]:
    """The server, on a port of its own unless one is given."""
    with Server(app, port) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield app
        finally:
            server.shutdown()
            thread.join()


def completions(app: App, body: Json) -> Json:
    assert (body["max_tokens"], body["temperature"], body["prompt_logprobs"]) == (1, 0, 0)
    return {
        "choices": [
            {
                "index": index,
                "prompt_logprobs": [
                    None,
                    *(
                        {str(token): {"logprob": value, "rank": 1, "decoded_token": "x"}}
                        for token, value in zip(tokens[1:], app.logprobs(tokens)[1:], strict=True)
                    ),
                ],
            }
            for index, tokens in enumerate(body["prompt"])
        ]
    }


def generate(app: App, body: Json) -> Json:
    tokens, options = body["token_ids"], body["sampling_params"]
    start = options["prompt_logprob_start"] + 1
    assert options["prompt_logprob_token_ids"] == [[token] for token in tokens[start:]]
    array = np.asarray(app.logprobs(tokens)[start:], np.float32)[:, None]
    return {"prompt_token_id_logprobs": encoded(array), "prompt_logprobs": None}


def encoded(array: np.ndarray) -> str:
    file = io.BytesIO()
    np.save(file, array)
    return base64.b64encode(file.getvalue()).decode()


# Faults


def says(status: int, message: str = "not now", **headers: str) -> Fault:
    """An error with its message."""
    return lambda handler, _: handler.refuse(status, message, **headers)


def changed(change: Callable[[Json], object]) -> Fault:
    """An answer with something of it changed."""

    def fault(handler: Handler, answer: Json) -> None:
        change(answer)
        handler.send(answer)

    return fault


def drops(handler: Handler, _: Json) -> None:
    """The connection ends without an answer."""
    handler.close_connection = True


def breaks_off(handler: Handler, answer: Json) -> None:
    """The connection ends in the middle of the answer."""
    content = json.dumps(answer).encode()
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content[: len(content) // 2])
    handler.close_connection = True


def garbles(handler: Handler, answer: Json) -> None:
    """Half of the JSON, as if it were all."""
    content = json.dumps(answer).encode()
    handler.send_bytes(content[: len(content) // 2])


def hangs(seconds: float) -> Fault:
    """An answer that comes too late."""

    def fault(handler: Handler, answer: Json) -> None:
        time.sleep(seconds)
        handler.send(answer)

    return fault
