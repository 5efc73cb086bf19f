"""Events go where they may, and nowhere else."""

import ipaddress
import socket
import ssl
import time
from typing import Any

import pytest

from kernelport.jobs.webhooks import posting
from kernelport.jobs.webhooks.addresses import is_allowed, masked, parse_networks, refusal
from kernelport.jobs.webhooks.posting import PostError, post
from tests.webhooks.receiver import receiving

LOOPBACK = parse_networks("127.0.0.0/8, ::1/128")


def test_a_post_arrives_with_its_headers_path_and_query() -> None:
    with receiving() as receiver:
        post(f"{receiver.url}/hook?token=x", b"{}", {"webhook-id": "a"}, LOOPBACK)
    ((path, sent, body),) = receiver.received
    assert (path, sent["webhook-id"], body) == ("/hook?token=x", "a", b"{}")


@pytest.mark.parametrize("status", [301, 307, 400, 404, 500, 503])
def test_any_other_status_is_a_failure_and_redirects_are_not_followed(status: int) -> None:
    with receiving() as receiver:
        receiver.statuses = [status]
        with pytest.raises(PostError, match=f"got {status}"):
            post(f"{receiver.url}/?secret=x", b"{}", {}, LOOPBACK)
    assert [path for path, _, _ in receiver.received] == ["/?secret=x"]


def test_a_server_that_hangs_or_drips_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "TIMEOUT_S", 0.5)
    with receiving() as receiver:
        receiver.hanging.clear()
        with pytest.raises(PostError, match="no answer within") as caught:
            post(receiver.url, b"{}", {}, LOOPBACK)
        assert caught.value.is_silent
        receiver.dripping = True
        receiver.hanging.set()
        began = time.monotonic()
        with pytest.raises(PostError, match=r"no answer within 0.5 s"):
            post(receiver.url, b"{}", {}, LOOPBACK)
        assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",
        "::ffff:a9fe:a9fe",
        "::10.0.0.1",
        "::ffff:0:10.0.0.1",
        "64:ff9b::a00:1",
        "64:ff9b:1::a00:1",
        "2001:0:0:0:0:0:f5ff:fffe",
        "2001:db8::1",
        "2a00::5efe:10.0.0.1",
        "fec0::1",
        "4000::1",
    ],
)
def test_private_addresses_are_refused_in_every_disguise(address: str) -> None:
    assert not is_allowed(ipaddress.ip_address(address), ())


def test_public_addresses_and_those_of_the_setting_are_allowed() -> None:
    for address in ("1.1.1.1", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"):
        assert is_allowed(ipaddress.ip_address(address), ())
    networks = parse_networks("10.0.0.0/8,fd00::/8")
    assert is_allowed(ipaddress.ip_address("10.1.2.3"), networks)
    assert is_allowed(ipaddress.ip_address("fd00::1"), networks)
    assert not is_allowed(ipaddress.ip_address("192.168.0.1"), networks)


NAMES_OF_LOOPBACK = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "0x7f.1",
    "\uff11\uff12\uff17.0.0.1",
    "localhost",
    "LocalHost.",
    "hook.localhost",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
]


@pytest.mark.parametrize("host", NAMES_OF_LOOPBACK)
def test_nothing_reaches_loopback_under_any_of_its_names(host: str) -> None:
    assert "is no public address" in (refusal(f"http://{host}:8080/hook", ()) or ""), "told when the job is submitted"
    with receiving() as receiver:
        port = receiver.url.rpartition(":")[2]
        with pytest.raises(PostError, match=r"no public address|Connection refused|not known|No address"):
            post(f"http://{host}:{port}/", b"{}", {}, ())
    assert receiver.received == []


def test_a_name_that_changes_its_mind_after_the_check_gets_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver:
        port = int(receiver.url.rpartition(":")[2])
        asked: list[str] = []

        def rebinding(host: str, *_: Any, **__: Any) -> Any:
            asked.append(host)
            address = "1.1.1.1" if len(asked) == 1 else "127.0.0.1"
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

        connected: list[Any] = []

        def connect(self: socket.socket, address: Any) -> None:
            connected.append(address)
            raise OSError("unreachable")

        monkeypatch.setattr(socket, "getaddrinfo", rebinding)
        monkeypatch.setattr(socket.socket, "connect", connect)
        with pytest.raises(PostError):
            post(f"http://rebinding.example:{port}/", b"{}", {}, ())
        assert len(asked) == 1, "the name is resolved once"
        assert all(address[0] == "1.1.1.1" for address in connected)
        with pytest.raises(PostError, match="no public address"):
            post(f"http://rebinding.example:{port}/", b"{}", {}, ())
    assert receiver.received == []


def test_https_wants_a_certificate_of_the_name() -> None:
    with receiving() as receiver, pytest.raises(PostError) as caught:
        post(receiver.url.replace("http:", "https:"), b"{}", {}, LOOPBACK)
    assert "127.0.0.1" in str(caught.value)
    assert ssl.create_default_context().check_hostname


def test_a_url_that_is_none_is_told_without_its_secrets() -> None:
    for url in ("ftp://host/token", "http:///token", "http://user:token@/", "http://host:0/token", "http://[token"):
        told = refusal(url, ())
        assert told is not None
        assert told.startswith("expected an http or https URL with a host")
        assert "token" not in told
        with pytest.raises(PostError) as caught:
            post(url, b"{}", {}, ())
        assert caught.value.is_final


def test_what_may_be_secret_in_a_url_is_not_shown() -> None:
    assert masked("https://user:token@host:8443/services/token?key=token#token") == "https://***@host:8443/***"
    assert masked("http://host/") == "http://host/"


def test_errors_name_the_host_but_no_secret_of_the_url() -> None:
    with pytest.raises(PostError) as caught:
        post("http://user:password@127.0.0.1:1/path?token=secret", b"{}", {}, LOOPBACK)
    assert not {"password", "token", "path"} & set(str(caught.value).replace("/", " ").split())
    assert "secret" not in str(caught.value)
