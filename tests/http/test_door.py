"""The HTTP port by itself: who may call, what a body may be, and how it starts and stops."""

import contextlib
import gzip
import os
import socket
import subprocess
import sys
import zlib
from pathlib import Path
from urllib.parse import urlsplit

import click
import pytest
from click.testing import CliRunner

from kernelport.cli import options
from kernelport.errors import StackError
from kernelport.supervisor.stack import Stack
from tests.conftest import stack_settings
from tests.http.calls import ask

SPEECH = "/v1/audio/speech"
HELLO = {"model": "hibari-en", "input": "Hi.", "response_format": "pcm"}


def test_health_tells_that_it_serves(stack: Stack) -> None:
    reply = ask(stack.url, "GET", "/health")
    assert (reply.status, reply.json()) == (200, {"status": "serving"})


def test_a_taken_port_is_an_error_that_says_how_to_choose_another(tmp_path: Path, stack: Stack) -> None:
    from dataclasses import replace

    settings = replace(stack_settings(stack.settings.deployments_file), http_listen=stack.settings.http_listen)
    with pytest.raises(StackError, match=f"cannot listen on {settings.http_listen}.*--http-listen"):
        Stack(settings, [], tmp_path).start()
    alone = subprocess.run(
        [sys.executable, "-m", "kernelport_api"],
        env={**os.environ, **stack.settings.to_environment(), "KERNELPORT_LISTEN": "127.0.0.1:0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert alone.returncode == 1
    assert "KERNELPORT_HTTP_LISTEN" in alone.stderr.splitlines()[-1]


def test_the_usual_port_is_left_to_whoever_has_it() -> None:
    @click.command()
    @options.http_listen
    def command(http_listen: str) -> None:
        click.echo(f"listens on: {options.unless_taken(http_listen)}")

    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # somebody else may have it already
            stack.enter_context(socket.create_server(("127.0.0.1", 8000)))
        said = CliRunner().invoke(command, [])
        assert "without HTTP: cannot listen on 127.0.0.1:8000" in said.stderr
        assert said.stdout == "listens on: \n"
        asked = CliRunner().invoke(command, ["--http-listen", "127.0.0.1:8000"])
        assert asked.stdout == "listens on: 127.0.0.1:8000\n"


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Host": "rebound.example"}, HELLO, 403),
        ({"Host": ""}, HELLO, 403),
        ({"Origin": "https://evil.example"}, HELLO, 403),
        ({"Origin": "null"}, HELLO, 403),
        ({"Sec-Fetch-Site": "cross-site"}, HELLO, 403),
        ({"Sec-Fetch-Site": "same-site"}, HELLO, 403),
        ({"Content-Type": "text/plain"}, HELLO, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"--x--", 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"a=b", 415),
        ({}, b"{}", 415),
    ],
)
def test_a_page_of_another_origin_makes_nobody_speak(
    stack: Stack, headers: dict[str, str], body: object, status: int
) -> None:
    reply = ask(stack.url, "POST", SPEECH, body, headers)
    assert reply.status == status
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
    assert "access-control-allow-origin" not in reply.headers


def test_the_pages_of_this_server_and_callers_by_its_loopback_names_may_call(stack: Stack) -> None:
    host = str(urlsplit(stack.url).netloc)
    port = host.rpartition(":")[2]
    for headers in (
        {"Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"},
        {"Host": f"localhost:{port}", "Origin": f"http://localhost:{port}"},
        {"Host": f"LOCALHOST:{port}"},
        {"Host": f"[::1]:{port}"},
        {"Sec-Fetch-Site": "none"},
    ):
        assert ask(stack.url, "POST", SPEECH, HELLO, headers).status == 200, headers


def test_only_pages_of_configured_origins_are_answered_across_origins(open_url: str) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization, x-stainless-os"}
    allowed = ask(open_url, "OPTIONS", SPEECH, headers={"Origin": "https://app.example", **asked})
    assert allowed.status == 204
    assert allowed.headers["access-control-allow-origin"] == "https://app.example"
    assert allowed.headers["access-control-allow-headers"] == "authorization, x-stainless-os"
    assert "POST" in allowed.headers["access-control-allow-methods"]
    refused = ask(open_url, "OPTIONS", SPEECH, headers={"Origin": "https://evil.example", **asked})
    assert "access-control-allow-origin" not in refused.headers

    listed = ask(open_url, "GET", "/v1/models", headers={"Origin": "https://app.example"})
    assert listed.headers["access-control-allow-origin"] == "https://app.example"
    assert listed.headers["vary"] == "Origin"
    assert "access-control-allow-origin" not in ask(open_url, "GET", "/v1/models").headers
    assert ask(open_url, "GET", "/health", headers={"Host": "speech.example:8000"}).status == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("GET", "/nothing/here", None, {}, 404),
        ("GET", SPEECH, None, {}, 405),
        ("DELETE", "/health", None, {}, 405),
        ("POST", SPEECH, b"{", {"Content-Type": "application/json"}, 400),
        ("POST", SPEECH, b"\xff", {"Content-Type": "application/json"}, 400),
        ("POST", SPEECH, b"[" * 100_000, {"Content-Type": "application/json"}, 400),
        ("POST", SPEECH, [1], {}, 400),
        ("POST", SPEECH, b"x" * (4 * 2**20 + 1), {"Content-Type": "application/json"}, 413),
        ("POST", SPEECH, b"x", {"Content-Type": "application/json", "Content-Encoding": "br"}, 415),
        ("POST", SPEECH, b"x", {"Content-Type": "application/json", "Content-Encoding": "gzip"}, 400),
        (
            "POST",
            SPEECH,
            gzip.compress(bytes(2**26)),
            {"Content-Type": "application/json", "Content-Encoding": "gzip"},
            413,
        ),
        ("POST", "/v1/audio/voices", b"--x", {"Content-Type": "multipart/form-data"}, 400),
        ("POST", "/v1/audio/voices", b"--x", {"Content-Type": "multipart/form-data; boundary=y"}, 400),
    ],
)
def test_a_malformed_call_is_told_so_in_json(
    stack: Stack, method: str, path: str, body: object, headers: dict[str, str], status: int
) -> None:
    reply = ask(stack.url, method, path, body, headers)
    assert reply.status == status
    assert "error" in reply.json()


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (rb'{"input":"\ud800"}', "half a surrogate pair"),
        (rb'{"input":"C:\\udab1"', "Input data was truncated"),
        (rb'{"input":"\ud83d\ude00"', "Input data was truncated"),
    ],
)
def test_half_a_surrogate_pair_is_told_from_an_end_that_is_missing(stack: Stack, body: bytes, found: str) -> None:
    for path in (SPEECH, "/v2/models/hibari-en/infer", "/api/jobs"):
        reply = ask(stack.url, "POST", path, body, {"Content-Type": "application/json"})
        assert reply.status == 400
        assert found in str(reply.json())


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, lambda raw: zlib.compress(raw)[2:-4]])
def test_a_packed_body_is_unpacked(stack: Stack, pack: "object") -> None:
    import json

    assert callable(pack)
    encoding = "gzip" if pack is gzip.compress else "deflate"
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    assert ask(stack.url, "POST", SPEECH, pack(json.dumps(HELLO).encode()), headers).status == 200


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"nonsense\r\n\r\n", b"HTTP/1.1 400"),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nx: " + b"a" * 100_000, b"HTTP/1.1 431"),
        (b"POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nContent-Length: many\r\n\r\n", b"HTTP/1.1 400"),
    ],
)
def test_what_is_no_http_ends_its_connection_alone(stack: Stack, sent: bytes, expected: bytes) -> None:
    where = urlsplit(stack.url)
    with socket.create_connection((where.hostname, where.port), timeout=10) as connection:
        connection.sendall(sent)
        assert connection.recv(4096).startswith(expected)
    assert ask(stack.url, "GET", "/health").status == 200


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/api/jobs", "GET, HEAD, POST"), ("/api/jobs/a", "DELETE, GET, HEAD"), (SPEECH, "POST")],
)
def test_a_method_that_is_not_here_is_told_all_that_are(open_url: str, path: str, allowed: str) -> None:
    reply = ask(open_url, "PATCH", path)
    assert (reply.status, reply.headers["allow"]) == (405, allowed)
