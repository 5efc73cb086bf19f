"""Both stacks at once, on one Redis: each as its own `kernelport up` runs it, in a database of its own."""

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from kernelport import Client
from kernelport.errors import KernelPortError
from kernelport.names import DEFAULT_TENANT
from kernelport.supervisor.ports import free_port
from kernelport.supervisor.processes import Child
from kernelport_ops.bench.pair.checkouts import Checkout
from kernelport_ops.bench.processes import POLL_S, BenchError, check_alive, start
from kernelport_ops.bench.systems import START_TIMEOUT_S, labelled, start_redis, started

_CHECK_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class Standing:
    """A stack that serves.

    Attributes:
        target: host:port of its front door.
        processes: process ids by label: `stack`, whose descendants are all of its own processes, and `redis`.
    """

    target: str
    processes: dict[str, list[int]]


@contextmanager
def both_standing(
    checkouts: Sequence[Checkout], deployments: Sequence[str], folder: Path
) -> Iterator[dict[str, Standing]]:
    """The stacks by side, with a worker for each of the deployments.

    No key, channel or file is shared: each stack has a database and a folder of its own.

    Args:
        folder: for logs and data; emptied first.

    Raises:
        BenchError: a stack does not start.
    """
    shutil.rmtree(folder, ignore_errors=True)
    redis_port = free_port()
    # Two blocks: a stack stops in order only while its Redis answers.
    with started() as servers, started() as stacks:
        redis = start_redis(folder / "redis", redis_port, persistent=True)
        servers.append(redis)
        targets = {}
        for database, checkout in enumerate(checkouts):
            targets[checkout.side] = f"127.0.0.1:{free_port()}"
            # A commit from before HTTP does not read the variable, where it would refuse an option.
            http = f"KERNELPORT_HTTP_LISTEN=127.0.0.1:{free_port()}"
            up = replace(checkout, variables=(http, *checkout.variables)).command(
                *("-m", "kernelport.cli", "up"),
                *("--deployments", ",".join(deployments)),
                *("--deployments-file", str(checkout.tree / "deployments" / "deployments.yaml")),
                *("--listen", targets[checkout.side]),
                *("--redis-url", f"redis://127.0.0.1:{redis_port}/{database}"),
                *("--state-dir", str((folder / checkout.side).absolute())),
            )
            stacks.append(start(checkout.side, up, folder))
        for checkout, stack in zip(checkouts, stacks, strict=True):
            _wait_until_serving(targets[stack.name], deployments, stack)
            if checkout.quotas:
                _set_quotas(targets[stack.name], checkout.quotas)
        yield {
            stack.name: Standing(targets[stack.name], {"stack": labelled([stack])[stack.name], **labelled([redis])})
            for stack in stacks
        }


def _set_quotas(target: str, quotas: Mapping[str, float]) -> None:
    try:
        with Client(target) as client:
            client.access.set_tenant(DEFAULT_TENANT, quotas=quotas)
    except KernelPortError as error:
        raise BenchError(f"cannot set quotas: {error}") from error


def _wait_until_serving(target: str, deployments: Sequence[str], stack: Child) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    with grpc.insecure_channel(target) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        while not all(_is_serving(health, name) for name in deployments):
            check_alive(stack)
            if time.monotonic() > deadline:
                raise BenchError(
                    f"{stack.name} does not serve after {START_TIMEOUT_S:g} s; its log ends:\n{stack.log_tail()}"
                )
            time.sleep(POLL_S)


def _is_serving(health: health_pb2_grpc.HealthStub, deployment: str) -> bool:
    try:
        answer: health_pb2.HealthCheckResponse = health.Check(  # type: ignore[attr-defined]
            health_pb2.HealthCheckRequest(service=deployment), timeout=_CHECK_TIMEOUT_S
        )
    except grpc.RpcError:
        return False
    return answer.status == health_pb2.HealthCheckResponse.SERVING
