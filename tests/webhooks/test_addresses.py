"""Which addresses a receiver may have, however they are written."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from winnow.errors import InvalidOption
from winnow.webhooks.addresses import LOOPBACK, is_open
from winnow.webhooks.url import MAX_URL, check_url


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "100.63.255.255",
        "172.32.0.1",
        "2606:4700::1111",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "2002:808:808::1",
    ],
)
def test_public_addresses_are_open(address: str) -> None:
    assert is_open(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",  # noqa: S104
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:a9fe:a9fe",
        "64:ff9b::7f00:1",
        "64:ff9b:1::a00:1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:db8::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "5f00::1",
    ],
)
def test_all_others_are_closed(address: str) -> None:
    assert not is_open(address)


def test_an_operator_opens_networks_and_what_wraps_their_addresses() -> None:
    opened = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    assert is_open("10.1.2.3", opened)
    assert is_open("::ffff:10.1.2.3", opened)
    assert is_open("fd12::1", opened)
    assert not is_open("127.0.0.1", opened)
    assert is_open("::1", LOOPBACK)
    assert not is_open("0.0.0.0", LOOPBACK)  # noqa: S104


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://example.com/", "http"),
        ("file:///etc/passwd", "http"),
        ("example.com/hook", "http"),
        ("https://", "http"),
        ("https://user:secret@example.com/", "password"),
        ("https://user@example.com/", "password"),
        ("http://127.0.0.1:9000/hook", "WINNOW_WEBHOOK_NETWORKS"),
        ("http://[::ffff:127.0.0.1]/", "WINNOW_WEBHOOK_NETWORKS"),
        ("http://169.254.169.254/latest/meta-data", "WINNOW_WEBHOOK_NETWORKS"),
        ("http://localhost:9000/", "WINNOW_WEBHOOK_NETWORKS"),
        ("http://LOCALHOST./", "WINNOW_WEBHOOK_NETWORKS"),
        ("http://api.localhost/", "WINNOW_WEBHOOK_NETWORKS"),
        ("https://example.com:99999/", "port"),
        ("https://example.com:0/", "port"),
        ("https://exa mple.com/", "http"),
        ("https://example.com/\n", "URL"),
        (f"https://example.com/{'é' * MAX_URL}", "characters"),
    ],
)
def test_a_url_that_could_never_be_told_anything_is_refused(url: str, said: str) -> None:
    with pytest.raises(InvalidOption, match=said) as refused:
        check_url(url, opened=())
    assert refused.value.param == "webhook_url"


def test_a_url_is_kept_in_ascii_without_its_fragment() -> None:
    url = "HTTPS://Bücher.example:8443/ä?token=1#here"
    kept = "https://xn--bcher-kva.example:8443/%C3%A4?token=1"
    assert check_url(url, opened=()) == kept
    assert check_url("http://localhost:9000/hook", opened=LOOPBACK) == "http://localhost:9000/hook"
