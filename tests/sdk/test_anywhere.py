"""A client may be made anywhere: at import, before forks, outside of event loops; and it may be closed twice."""

import asyncio
import copy
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kernelport import AsyncClient, Client, FailedPreconditionError, InferResult, InvalidArgumentError
from kernelport.supervisor.stack import Stack
from tests.sdk.servers import Echo, frozen, serving

X = {"x": np.ones((1, 1, 2, 2), np.float32)}
FORKS = Path(__file__).with_name("forks.py")


@pytest.mark.parametrize("parent", ["busy", "idle", "closed-loop"])
def test_children_that_are_forked_are_answered(stack: Stack, parent: str) -> None:
    assert children(stack.target, parent) == ["answered"] * 5


@pytest.mark.parametrize("parent", ["open-loop", "closed-loop-after-a-fork"])
def test_a_child_that_cannot_call_says_so_at_once(stack: Stack, parent: str) -> None:
    """gRPC's thread for asyncio does not survive a fork."""
    assert children(stack.target, parent) == ["FORKED"] * 5


@pytest.mark.parametrize("parent", ["map", "map_unordered"])
def test_a_child_that_goes_on_with_requests_of_its_parent_is_told_so_at_once(stack: Stack, parent: str) -> None:
    assert children(stack.target, parent) == ["FORKED", "8", "left"]


def test_a_child_that_goes_on_with_a_file_of_its_parent_is_told_so(stack: Stack) -> None:
    forked, *left = children(stack.target, "output")
    assert (forked, left[1]) == ("FORKED", "left")
    assert int(left[0]) > 1


@pytest.mark.parametrize("parent", ["stream", "finished_items"])
def test_streams_that_go_on_by_themselves_do_so_in_parent_and_child(stack: Stack, parent: str) -> None:
    first, _, second, _ = children(stack.target, parent)
    assert int(first) == int(second) > 1


def children(target: str, parent: str) -> list[str]:
    """What each child of a parent tells."""
    command = [sys.executable, FORKS, target, parent]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.split()


@pytest.mark.parametrize("make_another", [pickle.dumps, copy.deepcopy])
def test_a_client_says_what_to_do_in_place_of_pickling_it(make_another: Callable[[object], object]) -> None:
    for client in (Client(), AsyncClient(), Client().jobs):
        with pytest.raises(TypeError, match="pass its address, and make a client of it where it is needed"):
            make_another(client)


def test_an_async_client_made_outside_of_loops_works_in_one_after_the_other(stack: Stack) -> None:
    client = AsyncClient(stack.target, timeout_s=30)

    async def ask() -> float:
        return float((await client.infer("identity-onnx", X))["y"].sum())

    assert [asyncio.run(ask()) for _ in range(3)] == [4.0] * 3


def test_an_async_client_works_in_the_loops_of_several_threads_at_once(stack: Stack) -> None:
    client = AsyncClient(stack.target, timeout_s=30)
    answered: list[InferResult] = []

    async def ask() -> None:
        answered.extend([await client.infer("identity-onnx", X) for _ in range(5)])

    threads = [threading.Thread(target=lambda: asyncio.run(ask())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answered) == 20


async def test_a_client_that_is_closed_says_so() -> None:
    with serving(Echo()) as target:
        client, async_client = Client(target), AsyncClient(target)
        client.infer("m", X)
        await async_client.infer("m", X)
        for _ in range(2):
            client.close()
            await async_client.close()
        with pytest.raises(FailedPreconditionError, match="the client is closed"):
            client.infer("m", X)
        with pytest.raises(FailedPreconditionError, match="the client is closed"):
            client.jobs.get("j")
        with pytest.raises(FailedPreconditionError, match="the client is closed"):
            await async_client.infer("m", X)


async def test_a_task_that_is_cancelled_is_cancelled() -> None:
    with frozen() as target:
        async with AsyncClient(target) as client:
            call = asyncio.create_task(client.infer("m", X))
            await asyncio.sleep(0.1)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call


@pytest.mark.parametrize(
    "target", ["localhost", "http://localhost:50051", "localhost:", "localhost:0", "localhost:99999", "::1:5", "", None]
)
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_what_is_no_address_is_refused(kind: type[Client], target: str) -> None:
    with pytest.raises(InvalidArgumentError, match="target: expected host:port") as refused:
        kind(target)
    assert refused.value.field == "target"


@pytest.mark.parametrize("target", ["localhost:1", "[::1]:1", "dns:///localhost:1", "unix:/tmp/door", "a.b-c:65535"])
def test_addresses_are_taken(target: str) -> None:
    Client(target).close()
