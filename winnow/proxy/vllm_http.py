"""Questions to a running vLLM over HTTP: what is asked again, how long, and what a failure is called.

    408, 425, 429, 5xx, no connection, no answer in time, or an unreadable one    asked again, as below
    501, any other 4xx, a redirect                                                `Refused`, with the server's words
    401                                                                           ConfigurationError: the key is wrong

Pauses double from `FIRST_PAUSE_S` up to `LONGEST_PAUSE_S`, each shortened by chance by up to a half, so that many
workers do not come back at once; a `Retry-After` is kept to. From the first failure of a question on it is asked for
`patience_s` more, never longer, so that a unit of work fails in a known time when the server is gone: after at most
`patience_s` and twice `timeout_s`.

It is asyncio within, because a request of asyncio can be cancelled and one of a thread cannot. Not covered: a server
that answers correctly and ever slower; raise its capacity, or lower `WINNOW_VLLM_REQUESTS_IN_FLIGHT`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import orjson

from winnow.errors import ConfigurationError, EngineError, ModelError

CONNECT_TIMEOUT_S = 5.0
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 10.0
MAX_WORDS = 500
"""Characters of a server's own words that go into a message."""

_PASSING = (httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_EARLY, httpx.codes.TOO_MANY_REQUESTS)
"""Refusals of a moment; vLLM, or what stands in front of it, may take the same request later."""


class Refused(ModelError):
    """vLLM refuses this request, and would again. Read its log."""


class _Trouble(Exception):
    """A failure that may pass; the server asks to be left alone for `retry_after_s`."""

    def __init__(self, message: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a vLLM is, and how patiently it is asked. `url` is its root, without `/v1`, user or password."""

    url: str
    headers: dict[str, str] = field(repr=False)
    tls: Any
    timeout_s: float
    patience_s: float

    @classmethod
    def of(cls, url: str, *, api_key: str | None, timeout_s: float, patience_s: float) -> Address:
        """Check a URL and a key as an operator writes them.

        Raises:
            ConfigurationError: the URL is none, or the key cannot be sent. The key is not in the message.
        """
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise ConfigurationError(f"WINNOW_VLLM_URL: {error}.") from error
        if parsed.scheme not in {"http", "https"} or not parsed.host or parsed.userinfo:
            raise ConfigurationError(
                "WINNOW_VLLM_URL must be like http://host:8000, with any key in WINNOW_VLLM_API_KEY."
            )
        root = str(parsed).rstrip("/").removesuffix("/v1")
        return cls(
            url=root,
            headers=_authorization(api_key or ""),
            # Reading the certificates takes longer than a block of rows may.
            tls=httpx.create_ssl_context(),
            timeout_s=timeout_s,
            patience_s=patience_s,
        )


class Session:
    """Open connections to a vLLM, inside one event loop."""

    def __init__(self, http: httpx.AsyncClient, address: Address, patience_s: float) -> None:
        self._http = http
        self._address = address
        self._patience_s = patience_s

    async def get(self, path: str) -> dict[str, Any]:
        """The decoded answer. Raises as `post`."""
        return await self._ask("GET", path, None)

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The decoded answer.

        Raises:
            Refused: the server does not take such a request.
            ConfigurationError: it wants another key.
            EngineError: it is away, or failing, for longer than the patience.
        """
        return await self._ask("POST", path, orjson.dumps(body))

    async def _ask(self, method: str, path: str, content: bytes | None) -> dict[str, Any]:
        pause_s, gives_up_at = FIRST_PAUSE_S, None
        while True:
            try:
                return await self._once(method, path, content)
            except _Trouble as trouble:
                now = time.monotonic()
                gives_up_at = now + self._patience_s if gives_up_at is None else gives_up_at
                left_s = gives_up_at - now
                if left_s <= 0 or trouble.retry_after_s > left_s:
                    raise EngineError(self._away(trouble)) from trouble
                jitter = random.uniform(0.5, 1.0)  # noqa: S311 - it spreads load, it hides nothing
                wait_s = min(max(pause_s * jitter, trouble.retry_after_s), left_s)
            await asyncio.sleep(wait_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _once(self, method: str, path: str, content: bytes | None) -> dict[str, Any]:
        try:
            # The limit of httpx is for a silence; this one also ends an answer that drips.
            async with asyncio.timeout(self._address.timeout_s):
                response = await self._http.request(method, path, content=content)
        except TimeoutError as error:
            raise _Trouble(f"no answer in {self._address.timeout_s:g} s") from error
        except httpx.LocalProtocolError as error:
            # Its words quote what was to be sent, the key among it.
            raise _Trouble(type(error).__name__) from None
        except httpx.RequestError as error:
            raise _Trouble(f"{type(error).__name__}: {error}".rstrip(": ")) from error
        if response.status_code == httpx.codes.OK:
            return _decoded(response)
        words = _words(response)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            raise ConfigurationError(
                f"vLLM at {self._address.url} wants another key: {words}. Set WINNOW_VLLM_API_KEY."
            )
        if _may_pass(response.status_code):
            told = f"{response.status_code} {words}"
            raise _Trouble(told, retry_after_s=_retry_after_s(response))
        raise Refused(
            f"vLLM at {self._address.url} refuses {path} ({response.status_code}): {words}"
        )

    def _away(self, trouble: _Trouble) -> str:
        if self._patience_s == 0:
            return f"No vLLM answers at {self._address.url} ({trouble}). Start it, or correct WINNOW_VLLM_URL."
        return f"vLLM at {self._address.url} failed for {self._patience_s:g} s; at last: {trouble}"


@asynccontextmanager
async def open_session(
    address: Address, *, connections: int, patience_s: float | None = None
) -> AsyncIterator[Session]:
    """Connections that are closed at the end, and with them every request that is still running."""
    async with httpx.AsyncClient(
        base_url=address.url,
        headers={"Content-Type": "application/json"} | address.headers,
        verify=address.tls,
        timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT_S),
        limits=httpx.Limits(max_connections=connections),
    ) as http:
        yield Session(http, address, address.patience_s if patience_s is None else patience_s)


def _authorization(api_key: str) -> dict[str, str]:
    """The header of a key, read from a file with its line end perhaps; none for an empty one."""
    key = api_key.strip()
    if not (key.isascii() and key.isprintable()):
        raise ConfigurationError("WINNOW_VLLM_API_KEY must be one line of printable ASCII.")
    return {"Authorization": f"Bearer {key}"} if key else {}


def _decoded(response: httpx.Response) -> dict[str, Any]:
    try:
        answer = orjson.loads(response.content)
    except orjson.JSONDecodeError as error:
        raise _Trouble(f"its answer is no JSON: {error}") from error
    if not isinstance(answer, dict):
        raise _Trouble("its answer is no JSON object")
    return answer


def _may_pass(status: int) -> bool:
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return status != httpx.codes.NOT_IMPLEMENTED
    return status in _PASSING


def _words(response: httpx.Response) -> str:
    """What the server says is wrong: `error.message` of vLLM, or the text of whatever stands in front of it."""
    try:
        words = orjson.loads(response.content)["error"]["message"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        words = response.text
    return " ".join(str(words).split())[:MAX_WORDS]


def _retry_after_s(response: httpx.Response) -> float:
    """Seconds that the server asks to be left alone; it may name a time instead."""
    value = response.headers.get("Retry-After", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    return max(0.0, (at.astimezone(UTC) - datetime.now(UTC)).total_seconds())
