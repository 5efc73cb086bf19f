"""The systems that are measured: each starts what it needs on loopback, and is gone when its block ends."""

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from kernelport.config.settings import Settings, bundled_deployments
from kernelport.supervisor.ports import free_port
from kernelport.supervisor.processes import Child
from kernelport.supervisor.redis_server import find_redis_server, redis_command
from kernelport.supervisor.stack import Stack
from kernelport_ops.bench.cells import Cell
from kernelport_ops.bench.processes import start, stop, wait_for_port
from kernelport_ops.bench.terminal import cores

MODEL = "identity-onnx"
START_TIMEOUT_S = 90.0
LARGE_BYTES = 2**20
REDIS_MOST_CALLERS = 16


@dataclass(frozen=True)
class Running:
    """A system that runs: where a load generator reaches it, and the ids of its processes by label."""

    transport: str
    target: str
    processes: dict[str, list[int]]


class System(Protocol):
    """One column of the comparison."""

    @property
    def name(self) -> str:
        """As people call it."""

    @property
    def about(self) -> str:
        """What it is, in a line."""

    def prepare(self) -> None:
        """Gets what it needs. Raises BenchError when that is not to be had here: the system is left out then."""

    def running(self, folder: Path) -> contextlib.AbstractContextManager[Running]:
        """Runs it for the length of a block; its logs and data go to `folder`."""

    def measures(self, cell: Cell) -> bool:
        """Whether the cell makes sense for it."""


class _Ours:
    """A system that is here already, and is measured in every cell."""

    def prepare(self) -> None:
        """Nothing to get."""

    def measures(self, cell: Cell) -> bool:
        """Every cell."""
        return True


class Echo(_Ours):
    """The ceiling."""

    name = "echo"
    about = "grpc.aio server that gives the same message back: the ceiling"

    @contextlib.contextmanager
    def running(self, folder: Path) -> Iterator[Running]:
        """One process."""
        port = free_port()
        with started() as children:
            children.append(start("echo", _python("kernelport_ops.bench.echo_server", str(port)), folder))
            wait_for_port(port, children[-1])
            yield Running("grpc", f"127.0.0.1:{port}", labelled(children))


class NaiveCelery(_Ours):
    """What people write by hand. Its Redis keeps nothing on disk: the choice that suits it best."""

    name = "celery"
    about = "thread-pool gRPC server, apply_async().get(), Redis result backend, prefork worker with a process a core"

    @contextlib.contextmanager
    def running(self, folder: Path) -> Iterator[Running]:
        """Redis, a worker and a front."""
        port, redis_port = free_port(), free_port()
        model = bundled_deployments().parent / "models" / "identity" / "identity.onnx"
        environment = {"NAIVE_REDIS_URL": f"redis://127.0.0.1:{redis_port}/0", "NAIVE_MODEL": str(model)}
        worker = [
            *_python("celery", "-A", "kernelport_ops.bench.naive_tasks", "worker"),
            *("-P", "prefork", "-c", str(cores()), "--loglevel", "WARNING"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        ]
        with started() as children:
            children.append(start_redis(folder, redis_port))
            children.append(start("worker", worker, folder, environment))
            children.append(
                start("front", _python("kernelport_ops.bench.naive_server", str(port)), folder, environment)
            )
            wait_for_port(port, children[-1])
            yield Running("grpc", f"127.0.0.1:{port}", labelled(children))


class KernelPort(_Ours):
    """The embedded stack as `kernelport up` runs it: one worker, and a Redis that appends every write to disk.

    Args:
        over_http: call it by the Open Inference Protocol over HTTP, with binary tensors, in place of its own gRPC.
    """

    def __init__(self, *, over_http: bool = False) -> None:
        self._over_http = over_http
        self.name = "kernelport-http" if over_http else "kernelport"
        called = ", called by the Open Inference Protocol over HTTP" if over_http else ""
        self.about = f"Stack: front door, one worker, Redis with append-only persistence{called}"

    @contextlib.contextmanager
    def running(self, folder: Path) -> Iterator[Running]:
        """Redis, a front door and a worker."""
        settings = replace(
            Settings(),
            listen="127.0.0.1:0",
            http_listen="127.0.0.1:0" if self._over_http else "",
            deployments_file=bundled_deployments(),
        )
        with Stack(settings, [MODEL], folder) as stack:
            stack.wait_ready(START_TIMEOUT_S)
            processes = labelled(list(stack.children.values()))
            if self._over_http:
                yield Running("http-open-inference", f"{stack.url}/v2/models/{MODEL}/infer", processes)
            else:
                yield Running("grpc", stack.target, processes)


class RawRedis(_Ours):
    """redis-py without anything around it, for the payloads whose cost is moving bytes.

    Args:
        persistent: append every write to disk, as the stack's Redis does.
    """

    def __init__(self, *, persistent: bool) -> None:
        self._persistent = persistent
        self.name = "redis-aof" if persistent else "redis"
        self.about = f"redis-py SET + GET, Redis {'with append-only' if persistent else 'without'} persistence"

    def measures(self, cell: Cell) -> bool:
        """Large payloads, and not so many callers that threads only wait for each other."""
        return cell.payload.size >= LARGE_BYTES and cell.concurrency <= REDIS_MOST_CALLERS

    @contextlib.contextmanager
    def running(self, folder: Path) -> Iterator[Running]:
        """One Redis."""
        port = free_port()
        with started() as children:
            children.append(start_redis(folder, port, persistent=self._persistent))
            yield Running("redis", f"redis://127.0.0.1:{port}/0", labelled(children))


def labelled(children: list[Child]) -> dict[str, list[int]]:
    """The process ids of children by name."""
    return {child.name: [child.pid] for child in children if child.pid is not None}


@contextlib.contextmanager
def started() -> Iterator[list[Child]]:
    """A list of children that are stopped when the block ends."""
    children: list[Child] = []
    try:
        yield children
    finally:
        stop(children)


def start_redis(folder: Path, port: int, *, persistent: bool = False) -> Child:
    """A Redis that listens. Without persistence it keeps nothing on disk."""
    folder.mkdir(parents=True, exist_ok=True)
    command = redis_command(find_redis_server(), port, folder)
    child = start("redis", command if persistent else [*command, "--appendonly", "no"], folder)
    wait_for_port(port, child)
    return child


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]
