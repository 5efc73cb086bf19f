"""Clients as they come speak to a front door over TLS, and are told why where they may not."""

import re
import ssl
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import numpy as np
import openai
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from kernelport import Client, InvalidArgumentError, UnauthenticatedError, UnavailableError, aio
from kernelport.certificates.making import LOCAL_NAMES, Authority
from kernelport.supervisor.stack import Stack
from tests.cli.running import called
from tests.waiting import wait_for

X = np.ones((1, 1, 2, 2), np.float32)


def grpcs(stack: Stack) -> str:
    return f"grpcs://{stack.target}"


def test_ours_speaks_it_where_the_address_says_so_or_an_authority_is_named(
    door: Stack, ca: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client(door.target, tls_ca=ca) as client:
        assert np.array_equal(client.infer("identity-onnx", X)["y"], X)
    monkeypatch.setenv("KERNELPORT_TLS_CA", ca)
    with Client(grpcs(door)) as client:
        assert np.array_equal(client.infer("identity-onnx", X)["y"], X)


async def test_ours_of_asyncio_does(door: Stack, ca: str) -> None:
    async with aio.Client(grpcs(door), tls_ca=ca) as client:
        assert "identity-onnx" in {deployment.name for deployment in await client.deployments()}


def test_the_command_line_does(door: Stack, ca: str) -> None:
    told = called("deployments", "list", "--target", grpcs(door), KERNELPORT_TLS_CA=ca)
    assert "identity-onnx" in told.stdout
    assert called("health", "--target", grpcs(door), KERNELPORT_TLS_CA=ca).stdout == "serving\n"


def test_grpc_does(door: Stack, authority: Authority) -> None:
    credentials = grpc.ssl_channel_credentials(authority.file.read_bytes())
    with grpc.secure_channel(door.target, credentials) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]
        assert check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING


def test_openai_s_does(door: Stack, ca: str) -> None:
    with openai.DefaultHttpxClient(verify=ssl.create_default_context(cafile=ca)) as trusting:
        client = openai.OpenAI(base_url=f"{door.url}/v1", api_key="none", http_client=trusting)
        assert client.models.list().object == "list"


def test_curl_does(door: Stack, ca: str) -> None:
    assert b"identity-onnx" in curl("--cacert", ca, f"{door.url}/api/deployments")


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_triton_s_does(door: Stack, ca: str, protocol: str) -> None:
    address = door.target if protocol == "grpc" else urlsplit(door.url).netloc
    subprocess.run([sys.executable, "-m", "tests.tls.triton_client", protocol, address, ca], check=True, timeout=60)


def test_it_is_asked_how_it_is_without(door: Stack) -> None:
    assert {line.state for line in door.status()} == {"serving"}
    assert called("health", "--target", door.own_target).stdout == "serving\n"


def test_a_client_with_a_certificate_may_call_and_others_may_not(
    asking_door: Stack, ca: str, client_files: tuple[str, str], authority: Authority, tmp_path: Path
) -> None:
    cert, key = client_files
    stranger = [str(path) for path in Authority(tmp_path / "other").client("stranger")]
    servers = [str(path) for path in authority.server(LOCAL_NAMES, "not-a-client")]
    with Client(grpcs(asking_door), tls_ca=ca, tls_cert=cert, tls_key=key) as client:
        assert client.deployments()
    assert b"deployments" in curl("--cacert", ca, "--cert", cert, "--key", key, f"{asking_door.url}/api/deployments")
    for other in ([], stranger, servers):
        named = dict(zip(("tls_cert", "tls_key"), other, strict=False))
        with (
            Client(grpcs(asking_door), tls_ca=ca, max_retries=0, **named) as client,
            pytest.raises(UnavailableError, match="KERNELPORT_TLS_CLIENT_CERT"),
        ):
            client.deployments()
        with_own = [argument for pair in zip(("--cert", "--key"), other, strict=False) for argument in pair]
        curl("--cacert", ca, *with_own, f"{asking_door.url}/api/deployments", expect={52, 56})


def test_over_grpc_the_name_in_a_certificate_stands_for_a_key_and_over_http_the_key_does(
    asking_door: Stack, ca: str, client_files: tuple[str, str], authority: Authority
) -> None:
    cert, key = client_files
    nobody = dict(zip(("tls_cert", "tls_key"), map(str, authority.client("somebody", "somebody")), strict=True))
    headers = ("--cacert", ca, "--cert", cert, "--key", key, "-o", "/dev/null", "-w", "%{http_code}")
    with Client(grpcs(asking_door), tls_ca=ca, tls_cert=cert, tls_key=key) as robot:
        made, token = robot.access.create_key("robot", scopes=["admin"], certificate="robot")
        try:
            wait_for(lambda: curl(*headers, f"{asking_door.url}/api/keys") == b"401")  # there is a key now
            assert [each.certificate for each in robot.access.list_keys()] == ["robot"]
            with Client(grpcs(asking_door), tls_ca=ca, **nobody) as other, pytest.raises(UnauthenticatedError):
                other.deployments()
            shown = ("-H", f"Authorization: Bearer {token}")
            assert curl(*headers, *shown, f"{asking_door.url}/api/keys") == b"200"
        finally:
            robot.access.revoke_key(made.id)


@contextmanager
def served(cert: Path, key: Path) -> Iterator[str]:
    """A server of gRPC with a certificate, that answers no call."""
    server = grpc.server(futures.ThreadPoolExecutor(1))
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield f"grpcs://127.0.0.1:{port}"
    finally:
        server.stop(None)


Issued = Callable[[Authority, Path], tuple[Path, Path]]


@pytest.mark.parametrize(
    ("issued", "told"),
    [
        (lambda _, folder: Authority(folder, -1).server(LOCAL_NAMES), "expired"),
        (lambda _, folder: Authority(folder).server(["elsewhere.example"]), "is not that of the host that was called"),
        (lambda authority, _: authority.server(LOCAL_NAMES, "by-another"), "KERNELPORT_TLS_CA"),
    ],
    ids=["expired", "wrong name", "wrong authority"],
)
def test_a_certificate_that_is_not_right_is_told(
    issued: Issued, told: str, authority: Authority, tmp_path: Path
) -> None:
    trusted = Authority(tmp_path)
    with served(*issued(authority, tmp_path)) as target:
        with (
            Client(target, tls_ca=str(trusted.file), max_retries=0) as client,
            pytest.raises(UnavailableError, match=told) as refused,
        ):
            client.deployments()
        assert "kernelport up" not in str(refused.value)
        said = called("deployments", "list", "--target", target, expect=1, KERNELPORT_TLS_CA=str(trusted.file))
    assert re.search(told, said.stderr), said.stderr


def test_a_door_without_tls_is_told(authority: Authority, door: Stack, ca: str) -> None:
    with (
        Client(f"grpcs://{door.own_target}", tls_ca=ca, max_retries=0) as client,
        pytest.raises(UnavailableError, match="speaks no TLS"),
    ):
        client.deployments()


@pytest.mark.parametrize(
    ("named", "field", "told"),
    [
        ({"tls_ca": "/no/such/file"}, "tls_ca", "cannot read /no/such/file"),
        ({"tls_cert": "own.crt"}, "tls_key", "expected the path of a PEM file, beside own.crt"),
        ({"tls_key": "own.key"}, "tls_cert", "expected the path of a PEM file, beside own.key"),
    ],
)
def test_files_that_are_not_there_are_named(named: dict[str, str], field: str, told: str) -> None:
    with pytest.raises(InvalidArgumentError, match=told) as refused, Client("grpcs://localhost:1", **named) as client:  # type: ignore[arg-type]
        client.deployments()
    assert refused.value.field == field


def curl(*arguments: str, expect: Collection[int] = (0,)) -> bytes:
    finished = subprocess.run(["curl", "-sS", *arguments], capture_output=True, timeout=30, check=False)
    assert finished.returncode in expect, finished.stderr
    return finished.stdout
