"""Steps of many calls at once leave the event loop to others in between."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from kernelport.v1 import inference_pb2 as pb
from kernelport_api import aside, calls
from kernelport_api.aside import Pace
from kernelport_api.calls import AccessLog
from kernelport_api.queueing.idempotency import RequestIds
from kernelport_api.queueing.redis_errors import reached
from kernelport_api.services.inference import Inference
from kernelport_api.turns import RESTS, Turns

CROWD, STEP_S = 50, 0.01


def work() -> None:
    """Keeps the event loop from all else."""
    time.sleep(STEP_S)


async def test_of_a_crowd_one_goes_on_in_each_turn_in_the_order_of_coming() -> None:
    turns, gone_on = Turns(), list[int]()

    async def step(number: int) -> None:
        await turns.take()
        gone_on.append(number)

    crowd = [asyncio.create_task(step(number)) for number in range(CROWD)]
    await asyncio.sleep(0)
    at_once = len(gone_on)
    while len(gone_on) < CROWD:
        before = len(gone_on)
        await asyncio.sleep(0)
        assert len(gone_on) <= before + 1
    await asyncio.gather(*crowd)
    assert at_once == 1
    assert gone_on == list(range(CROWD))


async def test_who_gives_up_keeps_nobody_from_their_turn() -> None:
    turns = Turns()
    first, second, third = (asyncio.create_task(turns.take()) for _ in range(3))
    await asyncio.sleep(0)
    second.cancel()
    async with asyncio.timeout(10):
        await asyncio.gather(first, third)
    assert second.cancelled()


class Answers:
    """Redis, and what is known of workers: all is answered at once."""

    async def exists(self, _key: str) -> int:
        return 1

    async def signature(self, _name: str) -> None:
        return None


async def _signature() -> None:
    parts: Any = SimpleNamespace()
    await Inference({"m": parts}, parts, Answers(), parts, parts, parts, parts).signature("m")  # type: ignore[arg-type]


async def _known_id() -> None:
    assert await RequestIds(Answers()).is_known(pb.InferRequest(request_id="r"))  # type: ignore[arg-type]


@pytest.mark.parametrize("ask", [_signature, _known_id])
async def test_a_call_of_a_model_waits_for_no_turn(ask: Callable[[], Awaitable[None]]) -> None:
    AccessLog("front-door").begin("InferenceService/Infer")
    gone_on = list[int]()

    async def answer(number: int) -> None:
        gone_on.append(number)

    crowd = [asyncio.create_task(reached(answer(number))) for number in range(CROWD)]
    await asyncio.sleep(0)
    await asyncio.gather(*(ask() for _ in range(CROWD)))
    assert len(gone_on) <= 3
    await asyncio.gather(*crowd)


async def test_steps_that_take_long_rest_while_models_are_called() -> None:
    turns, began = Turns(), list[float]()

    async def step() -> None:
        await turns.take()
        began.append(time.monotonic())
        calls.of_models += 1
        work()

    await asyncio.gather(step(), step(), step())
    assert all(next_one - one >= (1 + RESTS) * STEP_S for one, next_one in pairwise(began))


async def test_work_in_pieces_rests_while_models_are_called() -> None:
    pace, rests = Pace(), list[float]()
    for is_called in (False, True):
        calls.of_models += is_called
        work()
        ended = time.monotonic()
        await pace.rest()
        rests.append(time.monotonic() - ended)
    assert rests[1] >= aside.RESTS * STEP_S
    assert rests[0] < rests[1]
