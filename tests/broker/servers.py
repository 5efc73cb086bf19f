"""Redis servers of a test's own, behind every kind of address."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from kernelport.broker.connections import connect, problem
from kernelport.supervisor.ports import free_port
from kernelport.supervisor.redis_server import find_redis_server, redis_command
from tests.waiting import wait_for

USER, PASSWORD = "kp@team", "p:/?#[]@;%+ ä\"'"
LOGIN = f"{quote(USER, safe='')}:{quote(PASSWORD, safe='')}"


@dataclass
class Server:
    """A Redis that a test may stop and start again.

    Attributes:
        port: on loopback.
        socket: the path of its Unix socket.
    """

    folder: Path
    port: int
    socket: Path
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Returns once it answers."""
        command = redis_command(find_redis_server(), self.port, self.folder)
        socket = ["--unixsocket", str(self.socket), "--unixsocketperm", "700"]
        self.process = subprocess.Popen([*command, *socket], stdout=subprocess.DEVNULL)
        with connect(self.url) as redis:
            wait_for(lambda: not problem(redis))

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@contextmanager
def serving_redis(folder: Path) -> Iterator[Server]:
    """A server with a second user, whose name and password are as odd as they may be, beside the usual one."""
    server = Server(folder, free_port(), folder / "r.sock")
    try:
        server.start()
        with connect(server.url) as redis:
            redis.acl_setuser(
                USER, enabled=True, passwords=[f"+{PASSWORD}"], keys="*", channels="*", commands=["+@all"]
            )
        yield server
    finally:
        server.kill()


def certificate(folder: Path, name: str) -> Path:
    """A self-signed certificate for localhost, with its key, in one file."""
    path = folder / f"{name}.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost", "-keyout", path, "-out", folder / f"{name}.crt"),
        ],
        check=True,
        capture_output=True,
    )
    path.write_text(path.read_text() + (folder / f"{name}.crt").read_text())
    return path


@contextmanager
def tls_in_front_of(server: Server, pem: Path) -> Iterator[int]:
    """A port that speaks TLS for a server."""
    port = free_port()
    command = [sys.executable, str(Path(__file__).with_name("tls_front.py")), str(port), str(server.port), str(pem)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as front:
        try:
            wait_for(lambda: _listens(port))
            yield port
        finally:
            front.kill()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
