"""One message to a real receiver: signed, to a checked address, and in bounded time."""

from __future__ import annotations

import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import WebhookVerificationError

from tests.webhooks.receiver import Receiver, Reply, receiving
from winnow.webhooks.addresses import LOOPBACK
from winnow.webhooks.sending import Answer, send

# Made for "localhost" alone, with `openssl req -x509`; its key opens nothing.
CERTIFICATE = Path(__file__).with_name("localhost.pem")
SECRETS = (
    "whsec_" + "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3",
    "whsec_" + "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4",
)
BODY = '{"type":"run.completed","data":{"name":"Überblick"}}'


def deliver(url: str, **options: Any) -> Answer:
    given: dict[str, Any] = {"secrets": SECRETS[:1], "opened": LOOPBACK, "timeout_s": 5.0}
    return send(url, "msg_1", BODY, **given | options)


def test_the_signature_is_the_one_that_the_package_of_the_standard_verifies(
    receiver: Receiver,
) -> None:
    answer = deliver(receiver.url + "?token=1")
    assert (answer.status_code, answer.accepted, answer.error) == (204, True, None)
    (received,) = receiver.received
    assert received.verified(SECRETS[0])["data"] == {"name": "Überblick"}
    assert received.body == BODY.encode()
    assert received.path == "/hook?token=1"
    assert received.headers["webhook-timestamp"] == str(int(answer.at))
    assert received.headers["content-type"] == "application/json"
    assert received.headers["host"] == f"127.0.0.1:{receiver.port}"
    with pytest.raises(WebhookVerificationError):
        received.verified(SECRETS[1])


def test_every_valid_secret_signs(receiver: Receiver) -> None:
    deliver(receiver.url, secrets=SECRETS)
    assert all(receiver.received[0].verified(secret) for secret in SECRETS)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_a_failure_and_is_not_followed(receiver: Receiver, status: int) -> None:
    receiver.replies = [Reply(status, {"Location": receiver.url + "/elsewhere"})]
    answer = deliver(receiver.url)
    assert (answer.status_code, answer.accepted) == (status, False)
    assert [each.path for each in receiver.received] == ["/hook"]


@pytest.mark.parametrize(
    ("status", "accepted"), [(200, True), (299, True), (300, False), (404, False), (599, False)]
)
def test_any_2xx_and_nothing_else_is_success(
    receiver: Receiver, status: int, accepted: bool
) -> None:
    receiver.replies = [Reply(status)]
    assert deliver(receiver.url).accepted is accepted


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0"])
def test_this_machine_is_refused_by_any_name_before_a_byte_is_sent(
    receiver: Receiver, host: str
) -> None:
    answer = deliver(f"http://{host}:{receiver.port}/hook", opened=())
    assert (answer.status_code, answer.error) == (None, "address_closed")
    assert answer.detail is not None
    assert "WINNOW_WEBHOOK_NETWORKS" in answer.detail
    assert receiver.received == []


def test_a_name_that_is_opened_is_connected_to_under_that_name(receiver: Receiver) -> None:
    assert deliver(f"http://localhost:{receiver.port}/hook").accepted
    assert receiver.received[0].headers["host"] == f"localhost:{receiver.port}"


def test_no_proxy_of_the_environment_is_used(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert deliver(receiver.url).accepted


@pytest.mark.parametrize("reply", [Reply(pause_s=30), Reply(drip_s=0.2)], ids=["silent", "drips"])
def test_a_slow_receiver_is_given_up_after_the_time_limit(receiver: Receiver, reply: Reply) -> None:
    receiver.replies = [reply]
    started = time.monotonic()
    answer = deliver(receiver.url, timeout_s=0.5)
    assert time.monotonic() - started < 10
    assert (answer.status_code, answer.error) == (None, "timeout")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "http://nowhere.invalid/", f"http://{'a' * 70}.example/"]
)
def test_a_receiver_that_is_not_there_is_an_answer_too(url: str) -> None:
    answer = deliver(url)
    assert (answer.accepted, answer.error) == (False, "connection_failed")
    assert answer.detail


def test_what_is_no_http_is_an_answer_too() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def greet() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        answer = deliver(f"http://127.0.0.1:{listening.getsockname()[1]}/")
        thread.join()
    assert answer.error == "connection_failed"


def test_a_certificate_must_be_trusted_and_be_that_of_the_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with receiving(certificate=CERTIFICATE) as receiver:
        url = f"https://localhost:{receiver.port}/hook"
        unknown = deliver(url)
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        assert deliver(url).accepted
        of_another = deliver(url.replace("localhost", "127.0.0.1"))
    for refused in (unknown, of_another):
        assert refused.error == "connection_failed"
        assert "CERTIFICATE_VERIFY_FAILED" in (refused.detail or "")
    assert len(receiver.received) == 1


@pytest.mark.parametrize(
    ("value", "expected_s"), [("7", 7.0), ("999999999999", 86400.0), ("soon", None), ("-1", None)]
)
def test_the_seconds_that_the_receiver_asks_for_are_read(
    receiver: Receiver, value: str, expected_s: float | None
) -> None:
    receiver.replies = [Reply(503, {"Retry-After": value})]
    assert deliver(receiver.url).retry_after_s == expected_s


@pytest.mark.parametrize(
    "value",
    [
        "Fri, 31 Dec 9999 23:59:59 -2300",
        "Mon, 01 Jan 0001 00:00:00 +2300",
        "Thu, 01 Jan 2026 00:00:00 +9999999999999",
        "Thu, 01 Jan 99999999999999999999 00:00:00 GMT",
    ],
)
def test_a_date_that_no_calendar_has_is_an_answer_all_the_same(
    receiver: Receiver, value: str
) -> None:
    receiver.replies = [Reply(503, {"Retry-After": value}), Reply(204, {"Retry-After": value})]
    failed, taken = deliver(receiver.url), deliver(receiver.url)
    assert (failed.status_code, failed.error) == (503, None)
    assert (taken.accepted, taken.error, taken.retry_after_s) == (True, None, None)


def test_a_name_whose_look_up_hangs_is_given_up_after_the_time_limit(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()

    def hang(*_: object, **__: object) -> list[Any]:
        ended.wait(30)
        return []

    with monkeypatch.context() as slow:
        slow.setattr(socket, "getaddrinfo", hang)
        started = time.monotonic()
        answer = deliver(receiver.url, timeout_s=0.3)
        assert time.monotonic() - started < 10
    ended.set()
    assert (answer.status_code, answer.error) == (None, "timeout")


def test_what_nobody_foresaw_is_an_answer_too() -> None:
    answer = deliver("http://127.0.0.1:1/", secrets=("whsec_a",))
    assert (answer.accepted, answer.error) == (False, "internal_error")
    assert answer.detail


@pytest.mark.parametrize(("hours", "expected_s"), [(2, 7200.0), (-2, 0.0), (48, 86400.0)])
def test_so_is_a_date(receiver: Receiver, hours: int, expected_s: float) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(hours=hours), usegmt=True)
    receiver.replies = [Reply(503, {"Retry-After": date})]
    assert deliver(receiver.url).retry_after_s == pytest.approx(expected_s, abs=30)
