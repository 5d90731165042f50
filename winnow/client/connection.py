"""The HTTP under the client: patience, streams, pages, uploads, and errors as exceptions."""

from __future__ import annotations

import io
import math
import secrets
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, Self, cast

import httpx
import orjson

from winnow.client.tables import Table, is_table, write_table
from winnow.client.values import Data
from winnow.errors import ServiceError, ServiceUnreachable, WinnowError

DEFAULT_URL = "http://127.0.0.1:8000"
CONNECT_TIMEOUT_S = 5.0
PATIENCE_S = 30.0
"""A service that is away while a run is waited for may restart for so long."""

WAIT_S = 3600.0
"""Default of `timeout_s` where something is waited for that usually takes minutes."""

PAUSE_S = 0.5
LONGEST_PAUSE_S = 5.0
AWAY = frozenset({502, 503, 504})


class Connection:
    """What every noun of the client builds on."""

    def __init__(
        self, url: str = DEFAULT_URL, api_key: str | None = None, *, timeout_s: float = 60.0
    ) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.url,
            headers={} if api_key is None else {"Authorization": f"Bearer {api_key}"},
            timeout=httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S),
        )
        # A wrong address is reported at once; only a service that was there before is waited for.
        self._answered = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    @contextmanager
    def _stream(
        self, path: str, params: Mapping[str, Any], *, headers: Mapping[str, str] | None = None
    ) -> Iterator[httpx.Response]:
        """An answer whose body is still to be read; that of an error is there already."""
        try:
            with self._http.stream(
                "GET", path, params=dict(params), headers=dict(headers or {})
            ) as response:
                if not response.is_success:
                    response.read()
                yield response
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def _download(self, path: str, target: Path, params: Mapping[str, Any]) -> None:
        """Write an answer to a file, which is there whole or not at all."""
        with self._stream(path, params) as response, whole_file(target) as file:
            if not response.is_success:
                raise failure(response)
            for chunk in response.iter_bytes():
                file.write(chunk)

    def _lines(self, path: str, params: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The lines of an answer as they arrive."""
        with self._stream(path, params) as response:
            if not response.is_success:
                raise failure(response)
            for line in response.iter_lines():
                yield orjson.loads(line)

    def _upload(
        self, path: str, data: Data, options: Mapping[str, Any], *, name_option: str = "name"
    ) -> dict[str, Any]:
        with _content(data) as (content, name):
            named = {name_option: name, **options} if name else dict(options)
            return self._json(
                "POST",
                path,
                params=named,
                content=content,
                headers={"Content-Type": "application/octet-stream"} | idempotency_key(),
            )

    def _pages(self, path: str, *, key: str, **params: Any) -> Iterator[dict[str, Any]]:
        asked = {name: value for name, value in params.items() if value is not None}
        while True:
            page = self._json("GET", path, params=asked)
            yield from page["data"]
            if not page["has_more"]:
                return
            asked["after"] = page["data"][-1][key]

    def _json(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        """The body of an answer; a question that changes nothing is asked again while the service is away."""
        deadline = time.monotonic() + (PATIENCE_S if method == "GET" else 0.0)
        pause_s = PAUSE_S
        while True:
            try:
                response = self._http.request(method, path, **request)
            except httpx.TransportError as error:
                if time.monotonic() > deadline or not self._answered:
                    raise self._unreachable(error) from error
            else:
                self._answered = True
                if response.is_success:
                    return orjson.loads(response.content) if response.content else {}
                if response.status_code not in AWAY or time.monotonic() > deadline:
                    raise failure(response)
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _unreachable(self, error: httpx.TransportError) -> ServiceUnreachable:
        return ServiceUnreachable(
            f"No Winnow service answers at {self.url} ({str(error) or type(error).__name__}). "
            "Start one with `winnow serve`, or correct the address."
        )


def _errors(kind: type[WinnowError]) -> Iterator[tuple[str, type[WinnowError]]]:
    yield kind.code, kind
    for child in kind.__subclasses__():
        yield from _errors(child)


_BY_CODE = dict(_errors(WinnowError))


def error_of(code: str, message: str, param: str | None = None) -> WinnowError:
    """The error of a code; `ServiceError` if it has no class here."""
    return _BY_CODE.get(code, ServiceError)(message, param=param)


def failure(response: httpx.Response) -> WinnowError:
    """What a problem+json body says, or the status of an answer that is none."""
    try:
        problem = orjson.loads(response.content)
        return error_of(problem["code"], problem["detail"], problem.get("param"))
    except (orjson.JSONDecodeError, KeyError, TypeError):
        status = f"{response.status_code} {response.reason_phrase}"
        return ServiceError(
            f"{response.url.copy_with(query=None)} answered {status}; is it a Winnow service?"
        )


def deadline_of(timeout_s: float | None) -> float:
    """When waiting that begins now ends, on the clock of `time.monotonic`; None: never."""
    return math.inf if timeout_s is None else time.monotonic() + timeout_s


def format_of(target: Path) -> str:
    """The format that the suffix of a file names."""
    return target.suffix.lower().removeprefix(".") or "jsonl"


@contextmanager
def whole_file(target: Path) -> Iterator[BinaryIO]:
    """A file to write; it stands under its name once the block ends, and never if the block raises."""
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _content(data: Data) -> Iterator[tuple[BinaryIO | Iterator[bytes], str | None]]:
    """The bytes of a dataset as a stream, and a name for it if there is one."""
    if isinstance(data, str | Path):
        with Path(data).open("rb") as file:
            yield file, Path(data).name
    elif isinstance(data, io.IOBase):
        yield cast("BinaryIO", data), None
    elif is_table(data):
        with TemporaryFile() as file:
            write_table(cast("Table", data), file)
            file.seek(0)
            yield cast("BinaryIO", file), None
    else:
        records = cast("Iterable[Mapping[str, Any]]", data)
        yield (orjson.dumps(record) + b"\n" for record in records), None


def idempotency_key() -> dict[str, str]:
    """A header that makes a request safe to send again."""
    return {"Idempotency-Key": uuid.uuid4().hex}
