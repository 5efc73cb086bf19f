"""What open pages cost the front door while a job runs."""

import os
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from kernelport.config.settings import bundled_deployments
from kernelport.supervisor.stack import Stack
from tests.conftest import serving_stack, stack_settings
from tests.http.calls import ask
from tests.waiting import wait_for

SECONDS = 20.0
# Of one core, beyond what the front door takes without a reader.
MOST_FOR_ONE, MOST_FOR_HUNDRED = 0.02, 0.20
_TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def readers(url: str, count: int) -> Iterator[None]:
    """Reads the events by so many connections, on one thread."""
    address = urlsplit(url)
    stopped = threading.Event()
    with ExitStack() as sockets, selectors.DefaultSelector() as ready:
        for _ in range(count):
            reader = sockets.enter_context(socket.create_connection((address.hostname, address.port)))
            reader.sendall(f"GET /api/events HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
            ready.register(reader, selectors.EVENT_READ)

        def read() -> None:
            while not stopped.is_set():
                for key, _ in ready.select(0.5):
                    assert isinstance(key.fileobj, socket.socket)
                    assert key.fileobj.recv(2**18), "it was cut off"

        thread = threading.Thread(target=read)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()


def cpu_s(pid: int) -> float:
    """Seconds of CPU time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def share(stack: Stack, count: int) -> float:
    """The share of a core that the front door takes with so many readers."""
    pid = stack.children["front-door"].pid
    assert pid is not None
    with readers(stack.url, count):
        time.sleep(2)  # the state of all is sent once
        began, before = time.monotonic(), cpu_s(pid)
        time.sleep(SECONDS)
        return (cpu_s(pid) - before) / (time.monotonic() - began)


@pytest.mark.thorough
@pytest.mark.timeout(300)
def test_open_pages_cost_little_while_a_job_runs(tmp_path: Path) -> None:
    with serving_stack(stack_settings(bundled_deployments()), ["hibari-en"], tmp_path) as stack:
        for _ in range(100):  # as many as are told of
            job = {"deployment": "hibari-en", "items": ["Short."]}
            assert ask(stack.url, "POST", "/api/jobs", job).status == 201
        items = ["A sentence of some length, to take a moment of compute."] * 20_000
        running = ask(stack.url, "POST", "/api/jobs", {"deployment": "hibari-en", "items": items}).json()["id"]

        def runs() -> bool:
            return bool(ask(stack.url, "GET", f"/api/jobs/{running}").json()["progress"]["succeeded"])

        wait_for(runs, 100)
        none, one, hundred = (share(stack, count) for count in (0, 1, 100))
        print(f"shares of a core: {none:.3f} without readers, {one:.3f} with one, {hundred:.3f} with a hundred")
        assert one - none < MOST_FOR_ONE
        assert hundred - none < MOST_FOR_HUNDRED
