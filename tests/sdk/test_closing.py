"""What a client is in the middle of ends with an error of ours when it is closed."""

import asyncio
import itertools
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from kernelport import AsyncClient, Client, FailedPreconditionError
from kernelport.supervisor.stack import Stack
from kernelport.tensors import from_array
from kernelport.v1 import job_pb2 as pb
from tests.jobs.calls import JobCalls

X = {"x": np.ones((1, 1, 2, 2), np.float32)}
LONG = "One sentence here. " * 60


@pytest.fixture
def job_id(jobs: JobCalls) -> Iterator[str]:
    """A job that goes on until the test ends: further items may come."""
    spec = pb.JobSpec(deployment="identity-onnx")
    item = pb.NewItem(id="a", inputs=[from_array("x", X["x"])])
    job = jobs.stub.SubmitJob(
        pb.SubmitJobRequest(spec=spec, items=[item], open=True, request_id=secrets.token_hex(8))
    ).job
    yield job.id
    jobs.stub.CancelJob(pb.CancelJobRequest(job_id=job.id))


def long_ones(client: Any, job_id: str) -> dict[str, Callable[[], Any]]:
    """What takes long, by name; each tells something before it is over."""
    return {
        "watch": lambda: client.jobs.watch(job_id),
        "finished_items": lambda: client.jobs.finished_items(job_id),
        "map": lambda: client.map("identity-onnx", itertools.repeat(X), concurrency=2),
        "map_unordered": lambda: client.map_unordered("identity-onnx", itertools.repeat(X), concurrency=2),
        "stream": lambda: client.stream("hibari-en", LONG),
    }


async def test_closing_ends_what_other_tasks_are_in_the_middle_of(stack: Stack, job_id: str) -> None:
    async def read(answers: AsyncIterator[Any], begun: asyncio.Event) -> Any:
        async for _ in answers:
            begun.set()

    closing = AsyncClient(stack.target, timeout_s=60)
    calls = long_ones(closing, job_id)
    begun = {name: asyncio.Event() for name in (*calls, "wait")}
    tasks = {name: asyncio.create_task(read(make(), begun[name])) for name, make in calls.items()}
    waiting = closing.jobs.wait(job_id, on_progress=lambda _: begun["wait"].set())
    tasks["wait"] = asyncio.ensure_future(waiting)
    for event in begun.values():
        await asyncio.wait_for(event.wait(), 30)
    await closing.close()
    await asyncio.wait(tasks.values(), timeout=10)
    ended = {name: "cancelled" if task.cancelled() else repr(task.exception()) for name, task in tasks.items()}
    assert ended == dict.fromkeys(tasks, repr(FailedPreconditionError("the client is closed: make another")))


def test_closing_ends_what_other_threads_are_in_the_middle_of(stack: Stack, job_id: str) -> None:
    def read(answers: Iterator[Any], begun: threading.Event) -> Any:
        for _ in answers:
            begun.set()

    with ThreadPoolExecutor() as pool:
        closing = Client(stack.target, timeout_s=60)
        begun = {name: threading.Event() for name in (*long_ones(closing, job_id), "wait")}
        calls = {name: pool.submit(read, make(), begun[name]) for name, make in long_ones(closing, job_id).items()}
        calls["wait"] = pool.submit(closing.jobs.wait, job_id, on_progress=lambda _: begun["wait"].set())
        for event in begun.values():
            assert event.wait(30)
        closing.close()
        for name, call in calls.items():
            with pytest.raises(FailedPreconditionError, match="the client is closed: make another"):
                assert call.result(timeout=10) is None, name
