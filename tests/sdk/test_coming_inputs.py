"""Inputs that come asynchronously are read as results are taken, and results that are there do not wait for them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from kernelport import AsyncClient, Client, InvalidArgumentError, JobState
from kernelport.supervisor.stack import Stack
from tests.everyday.conftest import UNSPEAKABLE
from tests.sdk.servers import Echo, serving

MAPS = ("map", "map_unordered")


def x(number: int) -> dict[str, np.ndarray]:
    return {"x": np.full((1, 1, 1, 1), number, np.float32)}


def number_of(answer: Any) -> int:
    """The number that a request was made of, by an answer of either map."""
    result = answer[1] if isinstance(answer, tuple) else answer
    return int(result["x"].item())


@pytest.mark.parametrize("name", MAPS)
async def test_no_more_are_read_than_asked_for(name: str) -> None:
    read: list[int] = []

    async def inputs() -> AsyncIterator[dict[str, np.ndarray]]:
        for number in range(100):
            await asyncio.sleep(0)
            read.append(number)
            yield x(number)

    with serving(Echo()) as target:
        async with AsyncClient(target) as client:
            taken: list[int] = []
            async for answer in getattr(client, name)("m", inputs(), concurrency=4):
                assert len(read) <= len(taken) + 4
                taken.append(number_of(answer))
    assert (taken if name == "map" else sorted(taken)) == list(range(100))


@pytest.mark.parametrize("name", MAPS)
async def test_what_is_asked_next_may_depend_on_the_answer(name: str) -> None:
    answered: asyncio.Queue[int] = asyncio.Queue()

    async def inputs() -> AsyncIterator[dict[str, np.ndarray]]:
        number = 1
        while number < 100:
            yield x(number)
            number = 2 * await answered.get()

    with serving(Echo()) as target:
        async with AsyncClient(target) as client, asyncio.timeout(30):
            async for answer in getattr(client, name)("m", inputs()):
                answered.put_nowait(number_of(answer))
                last = number_of(answer)
    assert last == 64


@pytest.mark.parametrize("name", MAPS)
async def test_an_error_of_the_inputs_ends_the_map_and_leaves_nothing_behind(name: str) -> None:
    async def inputs(number: int) -> AsyncIterator[dict[str, np.ndarray]]:
        yield x(0)
        yield x(6 // number)

    with serving(Echo()) as target:
        async with AsyncClient(target) as client:
            with pytest.raises(ZeroDivisionError):
                _ = [answer async for answer in getattr(client, name)("m", inputs(0))]
            async with contextlib.aclosing(getattr(client, name)("m", inputs(1))) as answers:
                await anext(answers)  # nor does who leaves early
    assert len(asyncio.all_tasks()) == 1


async def test_items_of_a_job_and_what_mends_them_may_come_so(stack: Stack) -> None:
    async def texts(*items: tuple[str, str]) -> AsyncIterator[tuple[str, str]]:
        for item in items:
            await asyncio.sleep(0)
            yield item

    async with AsyncClient(stack.target, timeout_s=30) as client:
        job = await client.jobs.submit("hibari-en", texts(("good", "One."), ("bad", UNSPEAKABLE)))
        assert (await client.jobs.wait(job.id, timeout_s=60)).state == JobState.FAILED
        assert await client.jobs.replace_items(job.id, texts(("bad", "Two."))) == 1
        await client.jobs.resume(job.id)
        assert (await client.jobs.wait(job.id, timeout_s=60)).state == JobState.SUCCEEDED


def test_a_client_of_threads_says_that_it_takes_no_such_inputs(client: Client) -> None:
    async def inputs() -> AsyncIterator[dict[str, np.ndarray]]:
        yield x(0)

    for call in (
        lambda: list(client.map("identity-onnx", inputs())),
        lambda: client.jobs.submit("identity-onnx", inputs()),
    ):
        with pytest.raises(InvalidArgumentError, match=r"expected .*, got <async_gen"):
            call()
