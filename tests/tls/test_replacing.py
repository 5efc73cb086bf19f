"""Certificates are replaced while a front door runs."""

import http.client
import json
import shutil
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import pytest
from cryptography import x509

from kernelport import Client
from kernelport.certificates.making import LOCAL_NAMES, Authority
from kernelport.config.settings import bundled_deployments
from kernelport.supervisor.restarting import Restarter
from kernelport.supervisor.stack import Stack
from tests.conftest import serving_stack, stack_settings
from tests.waiting import wait_for

REPLACEMENTS = 3


@pytest.fixture(scope="module")
def files(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("replaced")
    cert, key = folder / "door.crt", folder / "door.key"
    put(authority, (cert, key))
    return cert, key


@pytest.fixture(scope="module")
def replaced_door(files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings = replace(stack_settings(bundled_deployments()), tls_cert=str(files[0]), tls_key=str(files[1]))
    with serving_stack(settings, [], tmp_path_factory.mktemp("replaced-door")) as stack:
        yield stack


def put(authority: Authority, files: tuple[Path, Path]) -> int:
    """Puts a new certificate in the place of another, one file after the other; gives its number."""
    issued = authority.server(LOCAL_NAMES, "fresh")
    for source, target in zip(issued, files, strict=True):
        shutil.copy(source, target)
    return x509.load_pem_x509_certificate(files[0].read_bytes()).serial_number


def shown(address: str) -> int:
    """The number of the certificate that a door shows."""
    host, _, port = address.rpartition(":")
    return x509.load_pem_x509_certificate(ssl.get_server_certificate((host, int(port))).encode()).serial_number


def wait_until_shown(number: int, stack: Stack) -> None:
    for address in (stack.target, urlsplit(stack.url).netloc):
        wait_for(partial(_is_shown, address, number))


def _is_shown(address: str, number: int) -> bool:
    return shown(address) == number


def wait_until_more(seen: Counter[str], before: Counter[str]) -> None:
    """Waits until each has been done three times more."""
    wait_for(lambda: all(seen[name] > before[name] + 3 for name in before), what=f"more of {dict(before)}")


def test_a_certificate_is_replaced_under_load_without_an_error(
    replaced_door: Stack, files: tuple[Path, Path], authority: Authority, ca: str
) -> None:
    with beside(*callers(replaced_door, authority, ca)) as seen:
        for _ in range(REPLACEMENTS):
            number, calls = put(authority, files), seen.copy()
            wait_until_shown(number, replaced_door)
            wait_until_more(seen, calls)
    assert set(seen) == {"new_connections", "one_connection", "over_http"}
    changes = [json.loads(line) for line in Path(replaced_door.settings.audit_file).read_text().splitlines()]
    assert [each["action"] for each in changes] == ["certificate.reload"] * REPLACEMENTS
    assert changes[0]["resource"] == str(files[0])


def callers(stack: Stack, authority: Authority, ca: str) -> list[Callable[[], None]]:
    lasting = Client(f"grpcs://{stack.target}", tls_ca=ca, max_retries=0)
    address, trusting = urlsplit(stack.url).netloc, ssl.create_default_context(cafile=ca)
    credentials = grpc.ssl_channel_credentials(authority.file.read_bytes())

    def new_connections() -> None:
        own = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.secure_channel(stack.target, credentials, options=own) as channel:
            channel.unary_unary("/kernelport.v1.DeploymentService/ListDeployments")(b"", timeout=10)

    def one_connection() -> None:
        lasting.deployments()

    def over_http() -> None:
        connection = http.client.HTTPSConnection(address, context=trusting, timeout=10)
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200
        connection.close()

    return [new_connections, one_connection, over_http]


@contextmanager
def beside(*works: Callable[[], None]) -> Iterator[Counter[str]]:
    """Does some things again and again, each in a thread of its own; counts what each did, and what it raised."""
    seen, over = Counter({work.__name__: 0 for work in works}), threading.Event()

    def again(work: Callable[[], None]) -> None:
        while not over.wait(0.01):
            try:
                work()
                seen[work.__name__] += 1
            except Exception as error:
                seen[f"{work.__name__}: {error!r}"] += 1

    threads = [threading.Thread(target=again, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_what_cannot_be_used_is_told_and_what_there_was_stays(
    replaced_door: Stack, files: tuple[Path, Path], authority: Authority
) -> None:
    number, log = shown(replaced_door.target), replaced_door.children["front-door"].log_file
    shutil.copy(authority.server(LOCAL_NAMES, "another")[1], files[1])
    wait_for(lambda: "is not the key of the certificate" in log.read_text())
    files[0].write_text("no certificate")
    wait_for(lambda: "expected certificates as PEM" in log.read_text())
    assert shown(replaced_door.target) == shown(urlsplit(replaced_door.url).netloc) == number
    wait_until_shown(put(authority, files), replaced_door)


def test_a_front_door_with_tls_is_replaced_without_an_error(
    replaced_door: Stack, authority: Authority, ca: str
) -> None:
    pid = replaced_door.children["front-door"].pid
    restarter = Restarter(replaced_door, Path(replaced_door.settings.audit_file).parents[1])
    new_connections, _, over_http = callers(replaced_door, authority, ca)  # one that lasts is told to come again
    with beside(new_connections, over_http) as seen:
        assert restarter.restart(lambda: False) == {}
        wait_until_more(seen, seen.copy())
    assert set(seen) == {"new_connections", "over_http"}
    assert replaced_door.children["front-door"].pid != pid
    assert {line.state for line in replaced_door.status()} == {"serving"}
