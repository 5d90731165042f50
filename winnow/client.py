"""A Winnow service over HTTP: what curl does, with files streamed, waiting built in, and errors as exceptions.

    from winnow.client import Client

    with Client("http://127.0.0.1:8000") as winnow:
        run = winnow.wait(winnow.score("data.jsonl"))
        winnow.download("subset.jsonl", run=run.id, ratio=0.1)

Every method raises the `WinnowError` that the service named (`winnow.errors`), `ServiceUnreachable` if nothing answers,
and `ServiceError` for an error that has no class here. Not covered: the OpenAI-compatible part, which the `openai`
package drives.
"""

from __future__ import annotations

import io
import secrets
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, Self, TypedDict, Unpack, cast

import httpx
import orjson
from pydantic import TypeAdapter

from winnow import errors
from winnow.errors import (
    RunNotUsable,
    ScoresNotReady,
    ServiceError,
    ServiceUnreachable,
    WinnowError,
)

DEFAULT_URL = "http://127.0.0.1:8000"
CONNECT_TIMEOUT_S = 5.0
PATIENCE_S = 30.0
"""A service that is away while a run is waited for may restart for so long."""

PAUSE_S = 0.5
LONGEST_PAUSE_S = 5.0
AWAY = frozenset({502, 503, 504})

Data = Path | str | BinaryIO | Iterable[Mapping[str, Any]]
"""A dataset: the path of a file, an open binary file, or records."""


class UploadOptions(TypedDict, total=False):
    """Options of every upload: see `POST /datasets` in the API."""

    name: str
    format: Literal["auto", "json", "jsonl", "csv", "tsv", "parquet"]


class ScoreOptions(UploadOptions, total=False):
    """Options of a run: see `POST /score` in the API."""

    method: str
    model: str
    engine: str
    dtype: str
    template: str
    convention: str
    statistic: str
    max_length: int
    seed: int


class SubsetOptions(TypedDict, total=False):
    """Which rows and in which form: see `GET /subsets` in the API. Exactly one of `ratio` and `count`."""

    run: str
    dataset: str
    method: str
    ratio: float
    count: int
    strategy: Literal["top", "bottom", "random"]
    min_score: float
    max_score: float
    seed: int
    order: Literal["original", "score"]
    include: Literal["scores"]
    format: Literal["jsonl", "json", "csv", "parquet"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A subset that was written to a file, and where it came from."""

    path: Path
    run: str
    num_bytes: int
    etag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a run or a dataset failed."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Bytes that were posted, once per owner; counts are None until they are read. Times are unix seconds."""

    id: str
    name: str | None
    sha256: str
    size_bytes: int
    format: str | None
    status: str
    rows_read: int | None
    rows_usable: int | None
    rows_rejected: int | None
    error: Problem | None
    created_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How far a run is; rows and blocks are None until the dataset is read."""

    rows: int | None
    rows_done: int
    rows_scored: int
    rows_rejected: int
    blocks: int | None
    blocks_done: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run; `waits_for` says why nothing happens, if so. Times are unix seconds, rates rows a second."""

    id: str
    name: str | None
    status: str
    dataset: str
    method: str
    model: str
    revision: str | None
    window: int | None
    options: dict[str, Any]
    counts: Counts
    rows_per_s: float | None
    eta_s: float | None
    waits_for: str | None
    summary: dict[str, Any] | None
    warnings: list[str]
    error: Problem | None
    created_at: int
    started_at: int | None
    finished_at: int | None


class Client:
    """A connection to one service; use it as a context manager, or call `close`.

    Safe to share between threads. `api_key` is what `winnow keys create` printed; an embedded service needs none.
    """

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

    # Datasets

    def add_dataset(self, data: Data, **options: Unpack[UploadOptions]) -> Dataset:
        """Put a dataset in without scoring it; the same bytes are one dataset."""
        return _DATASET.validate_python(self._upload("/datasets", data, options))

    def dataset(self, dataset_id: str) -> Dataset:
        """One dataset."""
        return _DATASET.validate_python(self._json("GET", f"/datasets/{dataset_id}"))

    def datasets(self) -> Iterator[Dataset]:
        """Your datasets, the newest first."""
        return (_DATASET.validate_python(item) for item in self._pages("/datasets", key="id"))

    def rejections(self, dataset_id: str) -> Iterator[dict[str, Any]]:
        """The rows that are no example: `row`, `reason`, and `detail` with line, field and remedy."""
        return self._pages(f"/datasets/{dataset_id}/rejections", key="row")

    def delete_dataset(self, dataset_id: str) -> None:
        """Take a dataset away: its runs are cancelled, its rows and files purged."""
        self._json("DELETE", f"/datasets/{dataset_id}")

    # Runs

    def score(
        self,
        data: Data | None = None,
        *,
        dataset: str | None = None,
        **options: Unpack[ScoreOptions],
    ) -> Run:
        """Start a run on new data, or on a `dataset` that is there; it is scored in the background.

        run = client.score("data.jsonl", template="alpaca")
        run = client.score([{"instruction": "Say hi.", "output": "Hi."}])
        run = client.score(dataset="ds_...", dtype="bfloat16")
        """
        if (data is None) == (dataset is None):
            raise errors.InvalidOption("Give either data or dataset=.", param="dataset")
        if data is not None:
            return _RUN.validate_python(self._upload("/score", data, options))
        body = {"dataset": dataset, **options}
        return _RUN.validate_python(
            self._json("POST", "/score", json=body, headers=_idempotency_key())
        )

    def run(self, run_id: str) -> Run:
        """One run, as it is now."""
        return _RUN.validate_python(self._json("GET", f"/runs/{run_id}"))

    def runs(self, *, dataset: str | None = None, status: str | None = None) -> Iterator[Run]:
        """Your runs, the newest first."""
        pages = self._pages("/runs", key="id", dataset=dataset, status=status)
        return (_RUN.validate_python(item) for item in pages)

    def wait(
        self,
        run: Run | str,
        *,
        on_progress: Callable[[Run], None] = lambda _: None,
        timeout_s: float | None = None,
    ) -> Run:
        """Ask until the run is completed; `on_progress` hears every answer. A service that restarts is waited for.

        Raises:
            WinnowError: the run failed, with its code and message; `RunNotUsable` if it was cancelled.
            TimeoutError: it took longer than `timeout_s`.
        """
        run_id = run if isinstance(run, str) else run.id
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            now = self.run(run_id)
            on_progress(now)
            if now.status == "completed":
                return now
            if now.error is not None:
                raise _error(now.error.code, now.error.message)
            if now.status in {"failed", "cancelled"}:
                raise RunNotUsable(f"The run {run_id} was {now.status}.")
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"the run {run_id} is still {now.status} after {timeout_s} s")
            time.sleep(PAUSE_S)

    def cancel(self, run_id: str) -> Run:
        """Stop a run; what was scored so far is not used."""
        return _RUN.validate_python(self._json("POST", f"/runs/{run_id}/cancel"))

    def delete_run(self, run_id: str) -> None:
        """Take a run and its scores away."""
        self._json("DELETE", f"/runs/{run_id}")

    def events(self, run_id: str) -> Iterator[dict[str, Any]]:
        """What happened to a run so far, in order: `seq`, `type`, `message`, `data`, `created_at`."""
        return self._pages(f"/runs/{run_id}/events", key="seq")

    def scores(self, run_id: str) -> Iterator[dict[str, Any]]:
        """A dictionary for every row of a completed run, in order: scored, or rejected with its reason."""
        with self._stream(f"/runs/{run_id}/scores", {"format": "jsonl"}) as response:
            if not response.is_success:
                raise _failure(response)
            for line in response.iter_lines():
                yield orjson.loads(line)

    def histogram(self, run_id: str, **options: Any) -> dict[str, Any]:
        """How the scores of a run lie, in bins."""
        return self._json("GET", f"/runs/{run_id}/histogram", params=options)

    # Subsets

    def subset(self, *, wait: bool = False, **options: Unpack[SubsetOptions]) -> Iterator[bytes]:
        """The bytes of a subset as they arrive, of the newest run unless `run` names one.

            b"".join(client.subset(run="run_...", ratio=0.1))

        Raises:
            ScoresNotReady: the run is not completed, and `wait` is not set.
        """
        with self._ready_subset(wait=wait, options=options) as response:
            yield from response.iter_bytes()

    def download(
        self, path: Path | str, *, wait: bool = False, **options: Unpack[SubsetOptions]
    ) -> Download:
        """Write a subset to a file, which is there whole or not at all; its suffix decides the format.

        client.download("subset.parquet", run="run_...", ratio=0.1, order="score")
        """
        target = Path(path)
        suffix = target.suffix.lower().removeprefix(".")
        asked: dict[str, Any] = {"format": suffix or "jsonl", **options}
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
        try:
            with (
                self._ready_subset(wait=wait, options=asked) as response,
                temporary.open("xb") as file,
            ):
                for chunk in response.iter_bytes():
                    file.write(chunk)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        return Download(
            path=target,
            run=response.headers.get("Winnow-Run", ""),
            num_bytes=target.stat().st_size,
            etag=response.headers.get("ETag", ""),
        )

    def manifest(self, **options: Unpack[SubsetOptions]) -> dict[str, Any]:
        """Where a subset comes from, and how many rows each rule took."""
        return self._json("GET", "/subsets/manifest", params=options)

    # The installation

    def models(self) -> list[dict[str, Any]]:
        """What may be used, and which workers offer it now."""
        models: list[dict[str, Any]] = self._json("GET", "/models")["data"]
        return models

    # HTTP

    @contextmanager
    def _ready_subset(self, *, wait: bool, options: Mapping[str, Any]) -> Iterator[httpx.Response]:
        while True:
            with self._stream("/subsets", options) as response:
                if response.is_success:
                    yield response
                    return
                error = _failure(response)
                if not (wait and isinstance(error, ScoresNotReady)):
                    raise error
                pause_s = float(response.headers.get("Retry-After", PAUSE_S))
            time.sleep(pause_s)

    @contextmanager
    def _stream(self, path: str, params: Mapping[str, Any]) -> Iterator[httpx.Response]:
        """An answer whose body is still to be read; that of an error is there already."""
        try:
            with self._http.stream("GET", path, params=dict(params)) as response:
                if not response.is_success:
                    response.read()
                yield response
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def _upload(self, path: str, data: Data, options: Mapping[str, Any]) -> dict[str, Any]:
        with _content(data) as (content, name):
            named = {"name": name, **options} if name else dict(options)
            return self._json(
                "POST",
                path,
                params=named,
                content=content,
                headers={"Content-Type": "application/octet-stream"} | _idempotency_key(),
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
                    raise _failure(response)
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


def _error(code: str, message: str, param: str | None = None) -> WinnowError:
    return _BY_CODE.get(code, ServiceError)(message, param=param)


def _failure(response: httpx.Response) -> WinnowError:
    """What a problem+json body says, or the status of an answer that is none."""
    try:
        problem = orjson.loads(response.content)
        return _error(problem["code"], problem["detail"], problem.get("param"))
    except (orjson.JSONDecodeError, KeyError, TypeError):
        status = f"{response.status_code} {response.reason_phrase}"
        return ServiceError(
            f"{response.url.copy_with(query=None)} answered {status}; is it a Winnow service?"
        )


@contextmanager
def _content(data: Data) -> Iterator[tuple[BinaryIO | Iterator[bytes], str | None]]:
    """The bytes of a dataset as a stream, and a name for it if there is one."""
    if isinstance(data, str | Path):
        with Path(data).open("rb") as file:
            yield file, Path(data).name
    elif isinstance(data, io.IOBase):
        yield cast("BinaryIO", data), None
    else:
        records = cast("Iterable[Mapping[str, Any]]", data)
        yield (orjson.dumps(record) + b"\n" for record in records), None


def _idempotency_key() -> dict[str, str]:
    return {"Idempotency-Key": uuid.uuid4().hex}


_RUN = TypeAdapter(Run)
_DATASET = TypeAdapter(Dataset)
"""They read the fields that this version knows; a newer service may send more."""
