"""Hands one message to a receiver: signed, to an address that was checked, and in bounded time.

The name of the receiver is looked up once, every address that it has is checked, and the connection goes to one of
them. So no second look-up can lead elsewhere (DNS rebinding), and neither can a redirect, which is never followed.
httpcore is httpx's own transport, used directly because it takes the network as an argument: no proxy, no cookies, no
netrc, no environment variable decides where a message goes.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Self

import httpcore
import httpx
from standardwebhooks import Webhook

from winnow import __version__
from winnow.webhooks.addresses import Network, is_open

LONGEST_WAIT_S = 24 * 3600.0
"""The longest wait that a receiver may ask for in Retry-After."""

_log = logging.getLogger(__name__)

_READ_BYTES = 16 * 1024
"""How much of an answer is read, and not looked at: a receiver that is hung up on may log it as a failure."""


class AddressClosed(Exception):
    """The receiver's name leads to an address that webhooks may not be sent to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of one attempt: the status of the answer, or why there is none. `at` is in unix seconds.

    `error` is `address_closed`, `timeout`, `connection_failed` or, where nobody foresaw it, `internal_error`; or why
    nothing was sent at all. `retry_after_s` is what a receiver that did not take the message asked for.
    """

    at: float
    seconds: float
    status_code: int | None = None
    error: str | None = None
    detail: str | None = None
    retry_after_s: float | None = None

    @property
    def accepted(self) -> bool:
        """Whether the receiver has the message: any 2xx, and nothing else."""
        return self.status_code is not None and httpx.codes.is_success(self.status_code)

    @classmethod
    def none(cls, error: str, detail: str) -> Self:
        """Nothing was sent."""
        return cls(at=time.time(), seconds=0.0, error=error, detail=detail)


def send(
    url: str,
    message_id: str,
    body: str,
    *,
    secrets: Sequence[str],
    opened: Sequence[Network],
    timeout_s: float,
) -> Answer:
    """Post a message, signed with every one of `secrets`; whatever happens is an answer.

    `timeout_s` bounds the whole attempt from the look-up of the name to the headers of the answer, however slowly bytes
    drip.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    started = time.monotonic()
    found: dict[str, Any]
    try:
        headers = _headers(url, message_id, now, body, secrets)
        found = _post(httpx.URL(url), headers, body.encode(), _Network(opened, timeout_s))
    except AddressClosed as error:
        found = {"error": "address_closed", "detail": str(error)}
    except httpcore.TimeoutException:
        found = {"error": "timeout", "detail": f"No answer within {timeout_s:g} s."}
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        found = {"error": "connection_failed", "detail": str(error)[:200] or type(error).__name__}
    except Exception as error:  # noqa: BLE001  one message that nobody foresaw must not be tried without a pause
        _log.exception("message not sent")
        found = {"error": "internal_error", "detail": type(error).__name__}
    return Answer(at=now.timestamp(), seconds=round(time.monotonic() - started, 3), **found)


def _headers(
    url: str, message_id: str, now: datetime, body: str, secrets: Sequence[str]
) -> dict[str, str]:
    signatures = (Webhook(secret).sign(message_id, now, body) for secret in secrets)
    return {
        "Host": httpx.URL(url).netloc.decode(),
        "User-Agent": f"Winnow/{__version__}",
        "Accept": "*/*",
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def _post(
    url: httpx.URL, headers: dict[str, str], body: bytes, network: _Network
) -> dict[str, Any]:
    target = httpcore.URL(
        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
    )
    with (
        httpcore.ConnectionPool(max_connections=1, network_backend=network) as pool,
        pool.stream("POST", target, headers=list(headers.items()), content=body) as response,
    ):
        _read_some(response)
        taken = httpx.codes.is_success(response.status)
        retry_after_s = None if taken else _retry_after(response.headers)
        return {"status_code": response.status, "retry_after_s": retry_after_s}


def _read_some(response: httpcore.Response) -> None:
    left = _READ_BYTES
    # The status is what counts; what happens to the rest of the answer is the receiver's affair.
    with contextlib.suppress(
        httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError
    ):
        for chunk in response.iter_stream():
            left -= len(chunk)
            if left <= 0:
                return


def _retry_after(headers: Iterable[tuple[bytes, bytes]]) -> float | None:
    """Seconds, given as a number or as a date; None if there is none, or none that can be read."""
    value = next((value for name, value in headers if name.lower() == b"retry-after"), b"")
    text = value.decode("latin-1").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_WAIT_S)
    try:
        moment = parsedate_to_datetime(text)
        wait_s = (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    except (ValueError, OverflowError):  # no date, or one that no calendar has
        return None
    return min(max(wait_s, 0.0), LONGEST_WAIT_S)


class _Network(httpcore.NetworkBackend):
    """Connects to checked addresses only, and to nobody after the deadline."""

    def __init__(self, opened: Sequence[Network], timeout_s: float) -> None:
        self._opened = opened
        self._deadline = time.monotonic() + timeout_s
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002  the deadline counts
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """A connection to the first address of `host` that takes one.

        Raises:
            AddressClosed: one of its addresses is closed; then none is tried.
        """
        failure: Exception = httpcore.ConnectError("the name has no address")
        for address in self._addresses(host, port):
            try:
                stream = self._inner.connect_tcp(
                    address, port, _left(self._deadline), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _Stream(stream, self._deadline)
        raise failure

    def _addresses(self, host: str, port: int) -> list[str]:
        addresses = _look_up(host, port, _left(self._deadline))
        if not all(is_open(address, self._opened) for address in addresses):
            raise AddressClosed(
                f"{host} is at an address of a private network, or of the machine of a worker. An operator opens "
                "networks in WINNOW_WEBHOOK_NETWORKS."
            )
        return addresses


def _look_up(host: str, port: int, within_s: float) -> list[str]:
    """The addresses of a name.

    The resolver of the machine cannot be interrupted: one that is slower is left behind in its thread, which ends when
    the resolver gives up (after half a minute, as resolvers are set up).
    """
    outcomes: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            outcomes.put(error)
        else:
            outcomes.put(list(dict.fromkeys(str(each[4][0]) for each in found)))

    threading.Thread(target=ask, name="look-up", daemon=True).start()
    try:
        outcome = outcomes.get(timeout=within_s)
    except queue.Empty:
        raise httpcore.ConnectTimeout(f"looking up {host!r} took too long") from None
    if isinstance(outcome, Exception):
        raise httpcore.ConnectError(f"the name {host!r} was not found: {outcome}") from outcome
    return outcome


class _Stream(httpcore.NetworkStream):
    """A connection all of whose waits together end at the deadline."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: float) -> None:
        self._inner = inner
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        """Bytes as they arrive."""
        return self._inner.read(max_bytes, _left(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        """Send bytes."""
        self._inner.write(buffer, _left(self._deadline))

    def close(self) -> None:
        """Hang up."""
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        """The same connection under TLS; the certificate must be that of the name, not of the address."""
        inner = self._inner.start_tls(ssl_context, server_hostname, _left(self._deadline))
        return _Stream(inner, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        """What the connection knows of itself."""
        return self._inner.get_extra_info(info)


def _left(deadline: float) -> float:
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise httpcore.ReadTimeout("the time of this attempt is over")
    return left_s
