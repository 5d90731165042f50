"""A real Label Studio as a process of its own: SQLite, loopback, an account with a token.

`make venv-label-studio` installs it. It calls services on this machine because it is told to (`ML_BLOCK_LOCAL_IP`,
`SSRF_PROTECTION_ENABLED`); it asks nobody for its newest version and reports to nobody.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[1]
START_TIMEOUT_S = 500.0
ANSWER_TIMEOUT_S = 1_200.0
"""Label Studio stores what a backend predicts task by task."""

USER = "lead@example.com"

ENVIRONMENT = {
    "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
    "ML_BLOCK_LOCAL_IP": "false",
    "SSRF_PROTECTION_ENABLED": "false",
    "COLLECT_ANALYTICS": "false",
    "LATEST_VERSION_CHECK": "false",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
}


@dataclass(frozen=True)
class StudioServer:
    """A running Label Studio; `http` speaks for its only account, with the legacy token `token`."""

    url: str
    token: str
    http: httpx.Client

    def get(self, path: str, **params: Any) -> Any:
        """The decoded answer to a GET."""
        return _decoded(self.http.get(path, params=params))

    def post(self, path: str, body: Any, **params: Any) -> Any:
        """The decoded answer to a POST."""
        return _decoded(self.http.post(path, json=body, params=params))

    def new_project(self, title: str, label_config: str) -> int:
        """The number of a new project."""
        made = self.post("/api/projects/", {"title": title, "label_config": label_config})
        return int(made["id"])


@contextmanager
def label_studio(folder: Path) -> Iterator[StudioServer]:
    """A Label Studio that keeps everything in `folder`, and is killed at the end."""
    port, token = _free_port(), secrets.token_hex(20)
    log = folder / "label-studio.log"
    account = {
        "LABEL_STUDIO_USERNAME": USER,
        "LABEL_STUDIO_PASSWORD": secrets.token_urlsafe(12),
        "LABEL_STUDIO_USER_TOKEN": token,
    }
    options = ("--no-browser", "--internal-host", "127.0.0.1", "--port", str(port))
    with log.open("ab") as output:
        process = subprocess.Popen(
            [_command(), "start", *options, "--data-dir", str(folder / "data")],
            env=os.environ | ENVIRONMENT | account,
            cwd=folder,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    headers = {"Authorization": f"Token {token}"}
    try:
        with httpx.Client(base_url=url, headers=headers, timeout=ANSWER_TIMEOUT_S) as http:
            _wait(http, process, log)
            yield StudioServer(url=url, token=token, http=http)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _decoded(answer: httpx.Response) -> Any:
    assert answer.is_success, answer.text
    return answer.json()


def _command() -> str:
    given = Path(os.environ.get("LABEL_STUDIO", ".venv-label-studio/bin/label-studio"))
    command = given if given.is_absolute() else ROOT / given
    if not command.exists():
        raise RuntimeError(f"there is no {command}; make it with: make venv-label-studio")
    return str(command)


def _wait(http: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not _answers(http):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"Label Studio did not start:\n{log.read_text()[-4000:]}")
        time.sleep(0.3)


def _answers(http: httpx.Client) -> bool:
    try:
        return http.get("/api/projects/", timeout=10.0).is_success
    except httpx.TransportError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
